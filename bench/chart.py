"""A bar chart of the ratios as one self-contained SVG, readable on light and dark pages.

python -m bench.chart bench.json... >chart.svg        of several runs together
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from bench.measure import Cost
from bench.report import OURS, Result

WIDTH, LABEL, NUMBERS = 860, 280, 190  # pixels: the whole, the names, the numbers on the right
ROW, BAR, TOP = 30, 10, 46
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.ours { fill: #0a7ea4 } .theirs { fill: #b8c0c8 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9da7b1 }
  .ours { fill: #3fb6dc } .theirs { fill: #57606a }
}
"""


def to_svg(results: Sequence[Result]) -> str:
    """Two bars a scenario; the longer one of the two has the same length everywhere."""
    shown = [result for result in results if result.ratio() is not None]
    height = TOP + ROW * len(shown) + 10
    references = sorted({name for result in shown if (name := result.reference)})
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f' aria-label="Time of {OURS} beside {" and ".join(references)}">',
        f"<style>{STYLE}</style>",
        *legend(" or ".join(references)),
        *(line for n, result in enumerate(shown) for line in row(result, TOP + n * ROW)),
        "</svg>\n",
    ]
    return "\n".join(parts)


def legend(reference: str) -> list[str]:
    return [
        f'<rect class="ours" x="{LABEL}" y="14" width="12" height="12" rx="2"/>',
        f'<text x="{LABEL + 18}" y="24">{OURS}</text>',
        f'<rect class="theirs" x="{LABEL + 90}" y="14" width="12" height="12" rx="2"/>',
        f'<text x="{LABEL + 108}" y="24">{escape(reference)} (shorter is faster)</text>',
    ]


def row(result: Result, y: int) -> list[str]:
    assert result.reference is not None
    ours, theirs = result.seconds(OURS), result.seconds(result.reference)
    scale = (WIDTH - LABEL - NUMBERS) / max(ours, theirs)
    numbers = f"{ours:.2f} s / {theirs:.2f} s"
    return [
        f'<text x="{LABEL - 10}" y="{y + 15}" text-anchor="end">{escape(result.name)}</text>',
        bar("ours", y, ours * scale),
        bar("theirs", y + BAR + 1, theirs * scale),
        f'<text class="small" x="{WIDTH - NUMBERS + 10}" y="{y + 15}">{numbers}</text>',
    ]


def bar(kind: str, y: int, length: float) -> str:
    width = max(length, 1)
    return f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'


def read_results(path: str) -> Iterator[Result]:
    """The results that a run has written as JSON."""
    for written in json.loads(Path(path).read_text())["results"]:
        costs = {name: [Cost(**cost) for cost in each] for name, each in written["costs"].items()}
        yield Result(name=written["name"], target=written["target"], costs=costs)


if __name__ == "__main__":
    sys.stdout.write(to_svg([result for path in sys.argv[1:] for result in read_results(path)]))
