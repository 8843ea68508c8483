"""Text and spans: where in a file something stands."""

from __future__ import annotations

import bisect
from functools import cached_property

import msgspec


class SourceFile(msgspec.Struct, frozen=True, dict=True):
    """A named text. Bytes that are not UTF-8 are kept as surrogates (`surrogateescape`)."""

    name: str
    text: str

    def __repr__(self) -> str:
        return f"SourceFile({self.name!r})"

    @classmethod
    def decode(cls, name: str, data: bytes) -> SourceFile:
        return cls(name, data.decode("utf-8", "surrogateescape"))

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        """Offset of the first character of every line; line N starts at index N - 1."""
        starts = [0]
        starts += [i + 1 for i, letter in enumerate(self.text) if letter == "\n"]
        return tuple(starts)

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line end."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else None].rstrip("\r")


class Span(msgspec.Struct, frozen=True):
    """A half-open range of characters of a source file."""

    file: SourceFile
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.file.text[self.start : self.end]

    @property
    def line(self) -> int:
        """The line on which the span starts, from 1."""
        return bisect.bisect_right(self.file.line_starts, self.start)

    @property
    def end_line(self) -> int:
        """The line on which the last character of the span stands, from 1."""
        return bisect.bisect_right(self.file.line_starts, max(self.start, self.end - 1))

    @property
    def column(self) -> int:
        """The column of the first character, from 1."""
        return self.start - self.file.line_starts[self.line - 1] + 1

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}"
