"""`lamina context`: what a build context holds, and who takes what of it, without a build.

Base images are not asked for: each stands for an empty one. So a COPY among the ONBUILD triggers
of a base image is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from lamina.context.survey import Hidden, Kept, PathReason, Survey, Use
from lamina.context.tree import ContextTree
from lamina.control.building.inputs import open_inputs
from lamina.control.request import BuildRequest
from lamina.control.store import open_store
from lamina.dockerfile.base import Base
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.dockerfile.instructions.parse import parse
from lamina.dockerfile.lower import lower
from lamina.dockerfile.parser import parse_syntax
from lamina.dockerfile.request import LoweringRequest
from lamina.errors import UserError
from lamina.graph.ops import CopyOp, HttpOp, LocalOp, ScratchOp, TreeSource
from lamina.graph.vertex import Vertex
from lamina.layer.entry import Kind
from lamina.notation.suggest import nearest
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform, host_platform
from lamina.oci.reference import Reference
from lamina.ops.copying.select import SourceNotFound, select_paths
from lamina.source import SourceFile, Span


def survey_context(
    request: BuildRequest, *, root: str, stdin: BinaryIO, environ: Mapping[str, str]
) -> Survey:
    """Looks at a context as a build would. Raises UserError, HostError."""
    store = open_store(root)
    with open_inputs(request, store, stdin, environ) as inputs:
        return survey(inputs.context, inputs.dockerfile, inputs.ignore, request.build_args)


def why_path(found: Survey, path: str, *, directory: str) -> PathReason:
    """Why `path`, relative to the context in `directory`, goes to the build or does not.

    Raises UserError for a path outside of the context or an ignore file that cannot be read.
    """
    inner = _inside(path, directory)
    name = os.fsencode(inner)
    exists = os.path.lexists(os.path.join(directory, inner))
    matcher = parse_ignore_file(found.ignore) if found.ignore is not None else None
    decision = matcher.decide(name) if matcher is not None else None
    users = found.users(name)
    near = None
    if not exists:
        near = nearest(inner, [os.fsdecode(one.path) for one in found.kept])
    return PathReason(
        path=name,
        exists=exists,
        ignored=decision is not None and decision.ignored,
        rule=found.rule(decision.line) if decision is not None and decision.line else "",
        near=near or "",
        users=users,
    )


def _inside(path: str, directory: str) -> str:
    """The path relative to the context. One that is there only as seen from the working directory
    is meant so.
    """
    top = os.path.realpath(directory)
    inside = []
    for start in (top, os.getcwd()):
        inner = os.path.relpath(os.path.normpath(os.path.join(start, path)), top)
        if inner != ".." and not inner.startswith("../"):
            inside.append("" if inner == "." else inner)
    if not inside:
        raise UserError(f"{path} is outside of the build context {directory}")
    there = (inner for inner in inside if os.path.lexists(os.path.join(top, inner)))
    return next(there, inside[0])


class TooManyFiles(UserError):
    """A context that nobody wants to see listed."""


def survey(
    tree: ContextTree,
    dockerfile: SourceFile,
    ignore: SourceFile | None,
    build_args: Mapping[str, str] | None = None,
    *,
    most: int = 10_000_000,
) -> Survey:
    """The same of a context that is open. Raises TooManyFiles above `most` of them, UserError for
    a Dockerfile that cannot be understood.
    """
    kept: list[Kept] = []
    hidden = list(_hidden(tree, b""))
    for entry in tree.walk(b""):
        kept.append(Kept(path=entry.path, kind=entry.kind, size=entry.size))
        if entry.kind is Kind.DIRECTORY:
            hidden += _hidden(tree, entry.path)
        if len(kept) > most:
            raise TooManyFiles(f"the build context {tree.root} holds more than {most} files")
    return Survey(
        dockerfile=dockerfile,
        ignore=ignore,
        kept=tuple(kept),
        hidden=tuple(sorted(hidden, key=lambda one: one.path)),
        uses=tuple(_uses(tree, dockerfile, build_args or {})),
    )


def _hidden(tree: ContextTree, directory: bytes) -> Iterator[Hidden]:
    prefix = directory + b"/" if directory else b""
    for name, line in tree.hidden(directory).items():
        yield Hidden(path=prefix + name, line=line)


def _uses(
    tree: ContextTree, dockerfile: SourceFile, build_args: Mapping[str, str]
) -> Iterator[Use]:
    for vertex in _copies(_vertices(dockerfile, build_args)):
        assert isinstance(vertex.op, CopyOp)
        sources = [
            source
            for source in vertex.op.sources
            if isinstance(source, TreeSource) and _is_context(vertex.inputs[source.input])
        ]
        if sources and vertex.span is not None:
            yield _use(tree, vertex.span, vertex.op, sources)


def _use(tree: ContextTree, span: Span, op: CopyOp, sources: Sequence[TreeSource]) -> Use:
    paths: set[bytes] = set()
    missing = hint = ""
    for source in sources:
        try:
            paths.update(select_paths(tree, source, op.exclude))
        except SourceNotFound as error:
            missing, hint = error.path, error.hint or ""
    return Use(span=span, paths=frozenset(paths), missing=missing, hint=hint)


def _is_context(vertex: Vertex) -> bool:
    return isinstance(vertex.op, LocalOp) and vertex.op.name == "context"


def _vertices(dockerfile: SourceFile, build_args: Mapping[str, str]) -> Iterator[Vertex]:
    """The graph of every stage, also of those that the last one does not need."""
    stages, _ = parse(parse_syntax(dockerfile))
    host = host_platform(os.uname().machine)
    for index in range(len(stages)):
        request = LoweringRequest(
            dockerfile=dockerfile,
            target=stages[index].name or str(index),
            build_args=build_args,
            build_platform=host,
        )
        yield lower(request, _EmptyBases()).vertex


def _copies(targets: Iterator[Vertex]) -> list[Vertex]:
    """Every COPY below the targets, once, as they stand in the file."""
    found: dict[Vertex, None] = {}
    left = list(targets)
    seen: set[Vertex] = set()
    while left:
        vertex = left.pop()
        if vertex not in seen:
            seen.add(vertex)
            left += vertex.inputs
            if isinstance(vertex.op, CopyOp):
                found[vertex] = None
    return sorted(found, key=lambda vertex: vertex.span.start if vertex.span else -1)


class _EmptyBases:
    """Every image is an empty one."""

    def image(self, reference: Reference, platform: Platform, *, name: str) -> Base:
        config = ImageConfig(os=platform.os, architecture=platform.architecture)
        return Base(vertex=Vertex(op=ScratchOp(), name=name), config=config)

    def modified(self, source: HttpOp | LocalOp) -> int | None:
        return None

    def has_context(self, name: str, platform: Platform) -> bool:
        return False

    def named_context(self, name: str, platform: Platform) -> Base | None:
        return None
