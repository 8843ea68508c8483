"""Lines: those of the file, and those of the language, which may go on over several of the file."""

from __future__ import annotations

import msgspec

from lamina.notation.gostrings import SPACES, byte_length
from lamina.source import SourceFile, Span

MAX_LINE_BYTES = 65535


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file with its line end, from `start` on; the first has number 1."""

    number: int
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def content(self) -> str:
        return self.text.rstrip("\r\n")

    @property
    def is_comment(self) -> bool:
        return self.text.lstrip(SPACES).startswith("#")

    @property
    def is_blank(self) -> bool:
        return not self.text.strip(SPACES)


class Lines(msgspec.Struct):
    """A walk over the lines of a file.

    `last` is the line taken last. The walk ends early at a line that is too long; `too_long` then
    holds that line.
    """

    source: SourceFile
    at: int = 0
    last: Line | None = None
    too_long: Line | None = None

    def take(self) -> Line | None:
        """The next line, None at the end."""
        text = self.source.text
        if self.at >= len(text) or self.too_long is not None:
            return None
        end = text.find("\n", self.at) + 1 or len(text)
        number = 1 if self.last is None else self.last.number + 1
        line = Line(number=number, start=self.at, text=text[self.at : end])
        if _is_too_long(line.text):
            self.too_long = line
            return None
        self.at, self.last = end, line
        return line

    def span(self, first: Line) -> Span:
        """From the start of `first` to the end of the line taken last."""
        return Span(self.source, first.start, self.at)


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the language; `has_empty` if an empty line stands within it."""

    text: str
    has_empty: bool = False


def _is_too_long(text: str) -> bool:
    # A letter has at most four bytes, so most lines need not be encoded to be counted.
    return len(text) * 4 > MAX_LINE_BYTES and byte_length(text.removesuffix("\n")) > MAX_LINE_BYTES


def split_continuation(text: str, *, escape: str) -> tuple[str, bool]:
    """The text without an escape letter at its end, and whether it goes on in the next line.

    Blanks may follow the escape letter; another escape letter before it takes its effect away.
    """
    body = text.rstrip(" \t")
    if body.endswith(escape) and not body.endswith(escape * 2):
        return body.removesuffix(escape), True
    return text, False


def join_lines(text: str, lines: Lines, *, escape: str) -> Joined:
    """The line that starts with `text`, joined with the lines in which it goes on.

    Comments within it are left out, and so are empty lines, which do not end it either.
    """
    part, goes_on = split_continuation(text, escape=escape)
    parts = [part]
    has_empty = False
    while goes_on and (line := lines.take()) is not None:
        if line.is_comment:
            continue
        if line.is_blank:
            has_empty = True
            continue
        part, goes_on = split_continuation(line.content, escape=escape)
        parts.append(part)
    return Joined(text="".join(parts), has_empty=has_empty)
