"""Errors as text: what went wrong, where in the file with its lines, what to do."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.errors import LaminaError
from lamina.notation.masking import without_credentials
from lamina.source import Span
from lamina.ui.printable import escaped

RULE = "--------------------"
MOST_LINES = 25
WIDEST_LINE = 400


def render_error(error: LaminaError, *, color: bool = False) -> str:
    """The error for the terminal: an `ERROR:` line, the excerpt of the source, a hint a line."""
    label = _paint("ERROR:", "31;1", color=color)
    parts = [f"{label} {_told(error.message)}\n"]
    if error.span is not None:
        parts.append(render_excerpt(error.span))
    hint = _paint("hint:", "36;1", color=color)
    parts += [f"{hint} {_told(line)}\n" for line in (error.hint or "").splitlines()]
    return "".join(parts)


def _told(text: str) -> str:
    return escaped(without_credentials(text))


def render_excerpt(span: Span) -> str:
    """The lines around a span, those of the span marked with `>>>`, as BuildKit prints them.

    Where the span lies within one line, a line below it has carets under its columns.
    """
    lines = "".join(f"{line}\n" for line in _excerpt(span))
    return f"{escaped(span.file.name)}:{span.line}\n{RULE}\n{lines}{RULE}\n"


def _excerpt(span: Span) -> Iterator[str]:
    first, last = span.line, max(span.line, span.end_line)
    count = _line_count(span)
    around = 4 if first == last else 2
    # BuildKit's rule: lines are added on both sides until there are enough of them
    start, end, added = first, last, 0
    while added < around:
        if start > 1:
            start, added = start - 1, added + 1
        if end < count:
            end, added = end + 1, added + 1
        added += 1
    for number in range(start, min(end, start + MOST_LINES - 1) + 1):
        marked = first <= number <= last
        text = span.file.line(number)
        yield f" {number:3} | {'>>>' if marked else '   '} {_shown(text)}".rstrip()
        if marked and first == last and (carets := _carets(span, text)):
            yield f"     |     {carets}"
    if end > start + MOST_LINES - 1:
        yield f"     |     ({end - start - MOST_LINES + 1} more lines)"


def _line_count(span: Span) -> int:
    """Lines of the file; what follows the last line end counts only where it is not empty."""
    starts = span.file.line_starts
    return len(starts) - (1 if len(starts) > 1 and starts[-1] == len(span.file.text) else 0)


def _carets(span: Span, text: str) -> str:
    """Carets under the span; none where it is the whole line, which is marked already."""
    begin = span.column - 1
    end = min(begin + max(span.end - span.start, 1), max(len(text), begin + 1))
    if text[begin:end].strip() == text.strip() or begin > WIDEST_LINE:
        return ""
    before = "".join(
        "\t" if letter == "\t" else " " * len(_shown(letter)) for letter in text[:begin]
    )
    return before + "^" * max(len(_shown(text[begin:end])), 1)


def _shown(text: str) -> str:
    return escaped(text[:WIDEST_LINE]) + ("…" if len(text) > WIDEST_LINE else "")


def _paint(text: str, code: str, *, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text
