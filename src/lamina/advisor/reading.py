"""A Dockerfile as far as it can be understood: what stands above the first error, and the error."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lamina.advisor.project import Dockerfile
from lamina.dockerfile.instructions.commands import ArgCommand, Command, Stage
from lamina.dockerfile.instructions.parse import parse_instruction
from lamina.dockerfile.parser import parse_syntax
from lamina.dockerfile.problems import InstructionError
from lamina.dockerfile.syntax import Instruction, Syntax
from lamina.errors import LaminaError, UserError
from lamina.source import SourceFile, Span


def read_dockerfile(source: SourceFile) -> Dockerfile:
    """Never raises; a file that is no Dockerfile at all has no stages, and an error."""
    syntax, error = _syntax(source)
    typed: list[tuple[Instruction, Stage | Command]] = []
    try:
        for node in syntax.instructions:
            typed.append((node, _typed(node, first=not _has_stage(typed))))
    except LaminaError as problem:
        error = problem
    stages, arguments = _stages([each for _, each in typed])
    return Dockerfile(
        source=source,
        syntax=syntax,
        stages=stages,
        arguments=arguments,
        nodes={each.span.start: node for node, each in typed},
        error=error,
    )


def _syntax(source: SourceFile) -> tuple[Syntax, LaminaError | None]:
    """The nodes of the whole file, or of the lines above what has no syntax."""
    try:
        return parse_syntax(source), None
    except LaminaError as error:
        span = error.span or Span(source, 0, 0)
        above = source.text[: source.line_starts[span.line - 1]]
        if span.file != source or not above.strip():
            return Syntax(source=source, nodes=(), escape="\\"), error
        try:
            shorter = parse_syntax(SourceFile(source.name, above))
        except LaminaError:
            return Syntax(source=source, nodes=(), escape="\\"), error
        return _moved(shorter, source), error


def _moved(syntax: Syntax, source: SourceFile) -> Syntax:
    """The same nodes, as nodes of the whole file."""
    nodes = tuple(
        msgspec.structs.replace(node, span=Span(source, node.span.start, node.span.end))
        for node in syntax.nodes
    )
    return msgspec.structs.replace(syntax, source=source, nodes=nodes)


def _typed(node: Instruction, *, first: bool) -> Stage | Command:
    try:
        typed = parse_instruction(node)
    except InstructionError as error:
        raise error.placed(node.code) from None
    if first and not isinstance(typed, Stage | ArgCommand):
        raise UserError("no build stage in current context", span=node.code)
    return typed


def _has_stage(typed: list[tuple[Instruction, Stage | Command]]) -> bool:
    return any(isinstance(each, Stage) for _, each in typed)


def _stages(typed: list[Stage | Command]) -> tuple[tuple[Stage, ...], tuple[ArgCommand, ...]]:
    starts = [index for index, each in enumerate(typed) if isinstance(each, Stage)]
    above = typed[: starts[0]] if starts else typed
    return (
        tuple(_stage(typed[start:end]) for start, end in zip(starts, _ends(starts), strict=True)),
        tuple(each for each in above if isinstance(each, ArgCommand)),
    )


def _ends(starts: list[int]) -> list[int | None]:
    return [*starts[1:], None][: len(starts)]


def _stage(typed: list[Stage | Command]) -> Stage:
    head, *body = typed
    assert isinstance(head, Stage)
    return head.having(_commands(body))


def _commands(typed: list[Stage | Command]) -> Iterator[Command]:
    return (each for each in typed if not isinstance(each, Stage))
