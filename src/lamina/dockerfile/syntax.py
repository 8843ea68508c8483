"""The syntax of a Dockerfile: a sequence of nodes that together are the whole text.

Every character of the file belongs to exactly one node, so `Syntax.text` is the file, and a node
can be replaced in it. An instruction is one node with its continuation lines, the comments and
empty lines between them, and its heredocs.
Source: the Dockerfile reference, "Format"; where it is silent, BuildKit's parser.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lamina.dockerfile.directives import Directive
from lamina.dockerfile.heredoc import Heredoc
from lamina.notation.gostrings import SPACES
from lamina.source import SourceFile, Span


class ByteOrderMark(msgspec.Struct, frozen=True, kw_only=True):
    """U+FEFF at the start of the file, which has no meaning."""

    span: Span


class Blank(msgspec.Struct, frozen=True, kw_only=True):
    """A line without anything but blanks."""

    span: Span


class Comment(msgspec.Struct, frozen=True, kw_only=True):
    """A line that starts with `#` and is no directive."""

    span: Span
    text: str


class DirectiveLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that tells the parser something."""

    span: Span
    directive: Directive


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction, its arguments split but not yet understood.

    `span` holds whole lines, `code` what can be underlined: without the blanks before it and the
    line end. `original` is the instruction as one line, without heredocs. `args` depend on the
    instruction: words; or the one string of the shell form; the strings of the exec form
    (`json`); name, value, `=` in turn for ENV and LABEL. `inner` is the trigger of an ONBUILD,
    whose heredocs belong to the ONBUILD. `comments` are those since the instruction before, or
    since the last empty comment.
    """

    span: Span
    keyword: str
    original: str
    args: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    json: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    inner: Instruction | None = None

    @property
    def name(self) -> str:
        """The keyword in lower case."""
        return self.keyword.lower()

    @property
    def code(self) -> Span:
        text = self.span.text
        start = self.span.start + len(text) - len(text.lstrip(SPACES))
        end = self.span.end
        body = text.removesuffix("\n").removesuffix("\r")
        if not body.endswith("\n"):  # else the last line is empty, and would be lost
            end = self.span.start + len(body)
        return Span(self.span.file, min(start, end), end)


Node = ByteOrderMark | Blank | Comment | DirectiveLine | Instruction


class ParseWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is accepted, but should not be written."""

    message: str
    url: str
    span: Span


class Syntax(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file: its nodes in order, and its escape letter."""

    source: SourceFile
    nodes: tuple[Node, ...]
    escape: str
    warnings: tuple[ParseWarning, ...] = ()

    @property
    def text(self) -> str:
        return "".join(node.span.text for node in self.nodes)

    @property
    def instructions(self) -> Iterator[Instruction]:
        return (node for node in self.nodes if isinstance(node, Instruction))
