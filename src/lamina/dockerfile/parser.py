"""Text to syntax."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from lamina.dockerfile.directives import BYTE_ORDER_MARK, DirectiveReader
from lamina.dockerfile.heredoc import Heredoc, find_heredocs
from lamina.dockerfile.json_form import parse_json_strings
from lamina.dockerfile.lexer import MAX_LINE_BYTES, Line, Lines, join_lines
from lamina.dockerfile.problems import DockerfileSyntaxError, ExpansionError
from lamina.dockerfile.syntax import (
    Blank,
    ByteOrderMark,
    Comment,
    DirectiveLine,
    Instruction,
    Node,
    ParseWarning,
    Syntax,
)
from lamina.dockerfile.words import (
    parse_pairs,
    split_blanks,
    split_flags,
    split_keyword,
    split_words,
)
from lamina.notation.gostrings import SPACES, is_space
from lamina.source import SourceFile, Span

DEFAULT_ESCAPE = "\\"
ESCAPES = ("\\", "`")

_EMPTY_CONTINUATION_URL = "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"
_TAKE_HEREDOCS = frozenset(("add", "copy", "run"))
_MAX_ONBUILD_DEPTH = 32  # ONBUILD ONBUILD is refused later; here it must only not exhaust the stack


def parse_syntax(source: SourceFile) -> Syntax:
    """The syntax of a file. Raises DockerfileSyntaxError and ExpansionError, with spans.

    Unknown instructions are no error here.
    """
    parser = _Parser(lines=Lines(source))
    parser.parse()
    return Syntax(
        source=source,
        nodes=tuple(parser.nodes),
        escape=parser.escape,
        warnings=tuple(parser.warnings),
    )


class _Parser(msgspec.Struct):
    lines: Lines
    escape: str = DEFAULT_ESCAPE
    directives: DirectiveReader = msgspec.field(default_factory=DirectiveReader)
    nodes: list[Node] = msgspec.field(default_factory=list)
    warnings: list[ParseWarning] = msgspec.field(default_factory=list)
    comments: list[str] = msgspec.field(default_factory=list)
    has_instruction: bool = False

    def parse(self) -> None:
        source = self.lines.source
        if source.text.startswith(BYTE_ORDER_MARK):
            self.lines.at = len(BYTE_ORDER_MARK)
            self.nodes.append(ByteOrderMark(span=Span(source, 0, self.lines.at)))
        while (line := self.lines.take()) is not None:
            self.nodes.append(self.node(line))
        if not self.has_instruction:
            whole = Span(source, 0, len(source.text))
            raise DockerfileSyntaxError("file with no instructions", span=whole)
        if (too_long := self.lines.too_long) is not None:
            raise DockerfileSyntaxError(
                f"dockerfile line greater than max allowed size of {MAX_LINE_BYTES}",
                span=Span(source, too_long.start, too_long.end),
            )

    def node(self, line: Line) -> Node:
        """The node that starts on the line."""
        text = line.content.lstrip(SPACES)
        try:
            directive = self.directives.read(text)
            if directive is not None and directive.name == "escape":
                self.set_escape(directive.value)
        except DockerfileSyntaxError as error:
            error.span = self.lines.span(line)
            raise
        if directive is not None:
            return DirectiveLine(span=self.lines.span(line), directive=directive)
        if line.is_comment:
            # The first letter goes, also if it is a blank before the `#`.
            comment = line.text[1:].strip(SPACES)
            self.comments = [*self.comments, comment] if comment else []
            return Comment(span=self.lines.span(line), text=comment)
        if not text:
            return Blank(span=self.lines.span(line))
        try:
            return self.instruction(line, text)
        except (DockerfileSyntaxError, ExpansionError) as error:
            error.span = error.span or self.lines.span(line)
            raise

    def set_escape(self, letter: str) -> None:
        if letter not in ESCAPES:
            raise DockerfileSyntaxError(f"invalid escape token '{letter}' does not match ` or \\")
        self.escape = letter

    def instruction(self, line: Line, text: str) -> Instruction:
        joined = join_lines(text, self.lines, escape=self.escape)
        if joined.has_empty:
            self.warn_empty(joined.text)
        instruction = _read(joined.text, span=self.lines.span(line), escape=self.escape)
        heredocs: list[Heredoc] = []
        if _takes_heredocs(instruction) and "<<" in joined.text:
            heredocs += map(self.fill, find_heredocs(joined.text))
        comments, self.comments = tuple(self.comments), []
        self.has_instruction = True
        span = self.lines.span(line)
        return replace(instruction, span=span, heredocs=tuple(heredocs), comments=comments)

    def warn_empty(self, text: str) -> None:
        last = self.lines.last
        assert last is not None
        self.warnings.append(
            ParseWarning(
                message=f"Empty continuation line found in: {text}",
                url=_EMPTY_CONTINUATION_URL,
                span=self.lines.span(last),
            )
        )

    def fill(self, heredoc: Heredoc) -> Heredoc:
        """The heredoc with the lines up to its name."""
        content: list[str] = []
        while (line := self.lines.take()) is not None:
            if heredoc.ends_at(line.text):
                return replace(heredoc, content="".join(content))
            content.append(line.text)
        raise DockerfileSyntaxError(
            "unterminated heredoc",
            hint=f"end it with a line that is just {heredoc.name}",
        )


def _read(line: str, *, span: Span, escape: str, depth: int = 0) -> Instruction:
    """The instruction on one line, without heredocs."""
    keyword, rest = split_keyword(line)
    flags, rest = split_flags(rest, escape=escape)
    instruction = Instruction(span=span, keyword=keyword, original=line, flags=flags)
    if instruction.name == "onbuild":
        if not rest or depth == _MAX_ONBUILD_DEPTH:
            return replace(instruction, args=(rest,) if rest else ())
        inner = _read(rest, span=span, escape=escape, depth=depth + 1)
        return replace(instruction, inner=inner)
    args, json = _arguments(instruction.name, rest, escape=escape)
    return replace(instruction, args=args, json=json)


def _arguments(name: str, rest: str, *, escape: str) -> tuple[tuple[str, ...], bool]:
    """The arguments of an instruction, and whether they are of the exec form."""
    match name:
        case "add" | "copy" | "volume":
            strings = parse_json_strings(rest)
            return (split_blanks(rest), False) if strings is None else (strings, True)
        case "cmd" | "entrypoint" | "run" | "shell":
            return _command_line(rest)
        case "healthcheck":
            end = next((i for i, letter in enumerate(rest) if is_space(letter)), len(rest))
            words, json = _command_line(rest[end:].lstrip(SPACES))
            return ((rest[:end], *words) if end else (), json)
        case "env" | "label":
            pairs = parse_pairs(rest, keyword=name.upper(), escape=escape)
            return tuple(part for pair in pairs for part in pair), False
        case "arg":
            return split_words(rest, escape=escape), False
        case "expose" | "from":
            return split_blanks(rest), False
        case "maintainer" | "stopsignal" | "user" | "workdir":
            return ((rest,) if rest else ()), False
    return (), False  # unknown: for whoever looks at the keyword to say


def _command_line(rest: str) -> tuple[tuple[str, ...], bool]:
    strings = parse_json_strings(rest)
    if strings is not None:
        return strings, True
    return ((rest,) if rest else ()), False


def _takes_heredocs(instruction: Instruction) -> bool:
    target = instruction
    if instruction.name == "onbuild" and instruction.inner is not None:
        target = instruction.inner
    return target.name in _TAKE_HEREDOCS and not target.json
