"""Edits of instructions that keep the habits of the file: its continuations, indents, line ends.

Nothing but what is named changes; every function gives an `Edit` of the Dockerfile.

    RUN pip install x            RUN --mount=type=cache,target=/c \\
                            →        pip install x
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lamina.advisor.finding import Edit
from lamina.advisor.project import Dockerfile
from lamina.advisor.runs import Run
from lamina.advisor.shell.script import Invocation, Step, Word
from lamina.dockerfile.syntax import Blank, Comment, Instruction
from lamina.source import Span

_INDENT = "    "
_KEYWORD = re.compile(r"\s*\S+")
_FLAG = re.compile(r"--[a-zA-Z][^\s]*")


def flag_spans(dockerfile: Dockerfile, node: Instruction) -> tuple[Span, ...]:
    """Where the flags of an instruction stand (`--mount=…`, `--from=…`), in their order."""
    return _flags(dockerfile, node)[0]


def add_flags(dockerfile: Dockerfile, node: Instruction, flags: Sequence[str]) -> Edit:
    """Flags behind those there are; each on a line of its own, what follows on the next."""
    spans, start = _flags(dockerfile, node)
    file = node.span.file
    between = f" {dockerfile.syntax.escape}{line_end(node)}{_indent(node)}"
    if spans:
        end = spans[-1].end
        return Edit(Span(file, end, end), "".join(between + flag for flag in flags))
    return Edit(Span(file, start, start), "".join(flag + between for flag in flags))


def replace_flag(span: Span, flag: str) -> Edit:
    """Another flag in the place of one of `flag_spans`."""
    return Edit(span, flag)


def remove_flag(dockerfile: Dockerfile, node: Instruction, span: Span) -> Edit:
    """Cuts one of `flag_spans` out, with the blanks or the continuation behind it."""
    text = node.span.file.text
    blanks = _blanks(dockerfile.syntax.escape).match(text, span.end)
    end = min(blanks.end() if blanks else span.end, node.span.end)
    return Edit(Span(node.span.file, span.start, end), "")


def remove_step(run: Run, step: Step) -> Edit | None:
    """Cuts a step out of a script; None where the rest would do something else."""
    cut = run.script.without(step) if run.script is not None else None
    return Edit(run.span(*cut), "") if cut is not None else None


def remove_word(run: Run, invocation: Invocation, word: Word) -> Edit | None:
    """Cuts an argument out, with the blanks or the continuation before it; None for a name."""
    index = invocation.words.index(word)
    if index == 0 or run.script is None:
        return None
    return Edit(run.span(invocation.words[index - 1].end, word.end), "")


def replace_word(run: Run, word: Word, text: str) -> Edit | None:
    """Another argument in the place of one; None in the exec form."""
    return Edit(run.span(word.start, word.end), text) if run.script is not None else None


def add_word(run: Run, after: Word, text: str) -> Edit | None:
    """An argument right behind a word; None in the exec form."""
    return Edit(run.span(after.end, after.end), f" {text}") if run.script is not None else None


def insert_above(dockerfile: Dockerfile, node: Instruction, text: str) -> Edit:
    """Lines above an instruction and the comments that stand on it; `text` has `\\n` line ends."""
    nodes = dockerfile.syntax.nodes
    index = nodes.index(node)
    while index and isinstance(nodes[index - 1], Comment):
        index -= 1
    start = nodes[index].span.start
    return Edit(Span(node.span.file, start, start), text.replace("\n", line_end(node)))


def remove_instruction(dockerfile: Dockerfile, node: Instruction) -> Edit:
    """Cuts an instruction out, and one of the empty lines that would be left around it."""
    nodes = dockerfile.syntax.nodes
    index = nodes.index(node)
    before = nodes[index - 1] if index else None
    after = nodes[index + 1] if index + 1 < len(nodes) else None
    lone = isinstance(before, Blank) and isinstance(after, Blank)
    end = after.span.end if after is not None and lone else node.span.end
    return Edit(Span(node.span.file, node.span.start, end), "")


def line_end(node: Instruction) -> str:
    """The line end of an instruction's first line."""
    return "\r\n" if node.span.text.partition("\n")[0].endswith("\r") else "\n"


def _indent(node: Instruction) -> str:
    """That of the instruction's first continuation line."""
    head, _, rest = node.code.text.partition("\n")
    if not rest or not head.rstrip().endswith(("\\", "`")):
        return _INDENT
    blanks = re.match(r"[ \t]*", rest)
    return blanks[0] if blanks and blanks[0] else _INDENT


def _blanks(escape: str) -> re.Pattern[str]:
    """Blanks, continuations, and the comments and empty lines between continued lines."""
    return re.compile(rf"(?:[ \t]|{re.escape(escape)}[ \t]*\r?\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*)*")


def _flags(dockerfile: Dockerfile, node: Instruction) -> tuple[tuple[Span, ...], int]:
    """The flags' places, and where what follows them starts."""
    code, blanks = node.code, _blanks(dockerfile.syntax.escape)
    text = code.text
    found: list[Span] = []
    keyword = _KEYWORD.match(text)
    at = _skipped(blanks, text, keyword.end() if keyword else 0)
    while (flag := _FLAG.match(text, at)) is not None:
        found.append(Span(code.file, code.start + at, code.start + flag.end()))
        at = _skipped(blanks, text, flag.end())
    return tuple(found), code.start + at


def _skipped(blanks: re.Pattern[str], text: str, at: int) -> int:
    match = blanks.match(text, at)
    return match.end() if match else at
