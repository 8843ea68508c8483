"""`.dockerignore`: text to patterns.

One pattern a line; `#` in the first column starts a comment; a leading slash means nothing.
Source: the Dockerfile reference, ".dockerignore file".
"""

from __future__ import annotations

import msgspec

from lamina.dockerfile.ignore_matcher import IgnoreMatcher
from lamina.dockerfile.ignore_pattern import clean_path, parse_ignore_pattern
from lamina.dockerfile.problems import IgnoreFileError
from lamina.notation.gostrings import SPACES, byte_length
from lamina.source import SourceFile, Span

_MAX_LINE_BYTES = 65535


class IgnoreLine(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern, with `!` in front if it is an exclusion, and its line in the file, from 1."""

    pattern: str
    line: int


def read_ignore_lines(source: SourceFile) -> tuple[IgnoreLine, ...]:
    """The patterns of a file, not yet checked. Raises IgnoreFileError for an overlong line."""
    found: list[IgnoreLine] = []
    for number, raw in enumerate(source.text.removeprefix("\ufeff").split("\n"), 1):
        if len(raw) * 4 > _MAX_LINE_BYTES and byte_length(raw) > _MAX_LINE_BYTES:
            raise IgnoreFileError(
                f"line longer than {_MAX_LINE_BYTES} bytes",
                line=number,
                span=_line_span(source, number),
            )
        text = raw.strip(SPACES)
        if raw.startswith("#") or not text:
            continue
        mark, text = ("!", text[1:].strip(SPACES)) if text.startswith("!") else ("", text)
        if text:
            text = clean_path(text)
            text = text.removeprefix("/") or text
        found.append(IgnoreLine(pattern=mark + text, line=number))
    return tuple(found)


def parse_ignore_file(source: SourceFile) -> IgnoreMatcher:
    """The matcher for a file. Raises IgnoreFileError, with the line and its span."""
    patterns = []
    for item in read_ignore_lines(source):
        try:
            pattern = parse_ignore_pattern(item.pattern, line=item.line)
        except IgnoreFileError as error:
            error.span = _line_span(source, item.line)
            raise
        if pattern is not None:
            patterns.append(pattern)
    return IgnoreMatcher(tuple(patterns))


def _line_span(source: SourceFile, number: int) -> Span:
    start = source.line_starts[number - 1]
    return Span(source, start, start + len(source.line(number)))
