"""Text and spans: where in a file something stands.

These two are classes by hand: every process of Lamina imports them, also the small one that steps
are forked from, for which `dataclasses` would be the largest thing it loads.
"""

from __future__ import annotations

import bisect


def printable(text: str) -> str:
    """The text as every encoder takes it: bytes that are not UTF-8 are spelled out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class SourceFile:
    """A named text. Bytes that are not UTF-8 are kept as surrogates (`surrogateescape`)."""

    __slots__ = ("_line_starts", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._line_starts: tuple[int, ...] | None = None

    @classmethod
    def decode(cls, name: str, data: bytes) -> SourceFile:
        return cls(name, data.decode("utf-8", "surrogateescape"))

    @property
    def line_starts(self) -> tuple[int, ...]:
        """Offset of the first character of every line; line N starts at index N - 1."""
        if self._line_starts is None:
            starts = [0]
            starts += [i + 1 for i, letter in enumerate(self.text) if letter == "\n"]
            self._line_starts = tuple(starts)
        return self._line_starts

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line end."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else None].rstrip("\r")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceFile) and (self.name, self.text) == (other.name, other.text)

    def __hash__(self) -> int:
        return hash((self.name, self.text))

    def __repr__(self) -> str:
        return f"SourceFile({self.name!r})"


class Span:
    """A half-open range of characters of a source file. Never changed once it is made."""

    __slots__ = ("end", "file", "start")

    def __init__(self, file: SourceFile, start: int, end: int) -> None:
        self.file = file
        self.start = start
        self.end = end

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

    def narrowed(self, word: str) -> Span:
        """The span of `word` within this one; this one where it is not there, or not once.

        A word ends at blanks, quotes, brackets, commas and `=`. Where it is part of a path
        (`src/a.txt` for `a.txt`), the span is that of the whole path.
        """
        import re  # spares the processes that never show a place

        wanted = word.strip("./") or word
        ends = re.compile(rf"(?:^|[./]){re.escape(wanted)}[./]*$")
        found = [m for m in re.finditer(r"[^\s\"',\[\]=]+", self.text) if ends.search(m[0])]
        if len(found) > 1:
            found = [m for m in found if m[0] == word]
        if len(found) != 1:
            return self
        start, end = found[0].span()
        return Span(self.file, self.start + start, self.start + end)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Span):
            return NotImplemented
        return (self.file, self.start, self.end) == (other.file, other.start, other.end)

    def __hash__(self) -> int:
        return hash((self.file, self.start, self.end))

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}"

    def __repr__(self) -> str:
        return f"Span({self.file.name!r}, {self.start}, {self.end})"
