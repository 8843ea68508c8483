"""Tables of plain text, aligned at their columns."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.ui.printable import one_line

GAP = "   "


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The header in capitals, then a line a row. Ends with a line end."""
    lines = [
        tuple(title.upper() for title in header),
        *(tuple(map(one_line, row)) for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[-1] = 0
    return "".join(
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )
