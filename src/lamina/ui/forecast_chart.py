"""A forecast as a picture: a row a step, a column a commit, and what the builds cost below.

    RUN npm ci      ▁▁█▁▁▁▁█▁▁   miss: a full cell; hit: a thin line
    seconds         ▂▂▇▂▂▂▂▇▂▂

Misses are told from hits by their form and not by their colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from lamina.advisor.forecast import Forecast, ForecastStep, Replay, StepName
from lamina.ui.forecast import step_label, summary
from lamina.ui.report.words import duration

_LEFT, _WIDE, _RIGHT = 420, 640, 100
_ROW, _CELL, _BARS = 18, 12, 48
_LABEL = 53
_MOST = 60  # steps of one Dockerfile
_STYLE = """
svg { --paper: #fff; --ink: #211f1c; --soft: #625d55; --line: #e5e0d8;
  --miss: #d13b4b; --hit: #12876f; --time: #4a63e0; }
@media (prefers-color-scheme: dark) { svg { --paper: #171614; --ink: #ece8e1; --soft: #aaa398;
  --line: #37332d; --miss: #f2727f; --hit: #43c4a6; --time: #8096ff; } }
text { font: 12.5px ui-sans-serif, system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  fill: var(--ink); }
.mono { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.head { font-size: 17px; font-weight: 650; } .soft { fill: var(--soft); }
.paper { fill: var(--paper); } .line { stroke: var(--line); }
.miss { fill: var(--miss); } .hit { fill: var(--hit); } .time { fill: var(--time); }
""".strip()


def render_chart(found: Forecast) -> str:
    """SVG, light and dark, that stands for itself; also inside a page."""
    told = summary(found)
    most = max((_seconds(r) for a in (False, True) for r in found.replays(after=a)), default=0.0)
    body: list[str] = []
    y = 56
    for after, name in ((False, found.before), (True, found.after)):
        if name:
            lines, y = _panel(found, name, after=after, most=most, top=y)
            body += lines
    width, height = _LEFT + _WIDE + _RIGHT, y + 24
    title = f"{told[:1].upper()}{told[1:]}"
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" role="img" aria-labelledby="f-title f-desc">'
            ),
            f'<title id="f-title">{_text(title)}</title>',
            f'<desc id="f-desc">{_text(_described(found))}</desc>',
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}" rx="10"/>',
            f'<text class="head" x="20" y="32">{_text(title)}</text>',
            *body,
            *_legend(y + 6),
            "</svg>",
            "",
        ]
    )


def _panel(
    found: Forecast, name: str, *, after: bool, most: float, top: int
) -> tuple[list[str], int]:
    """The rows of one Dockerfile, and where they end."""
    replays = tuple(found.replays(after=after))
    rate = round(found.total(after=after).rate * 100)
    lines = [
        f'<text class="soft" x="20" y="{top + 12}">{_text(name)}</text>',
        f'<text x="{_LEFT + _WIDE + 12}" y="{top + 12}">{rate} % hits</text>',
    ]
    y = top + 22
    names = _names(replays)
    for step in names[:_MOST]:
        lines += _row(step, replays, y)
        y += _ROW
    if len(names) > _MOST:
        lines.append(f'<text class="soft" x="20" y="{y + 11}">{len(names) - _MOST} more</text>')
        y += _ROW
    if most:
        lines += _bars(replays, most, y + 4)
        y += _BARS + 8
    return lines, y + 14


def _row(name: StepName, replays: Sequence[Replay], y: int) -> Iterator[str]:
    """Neighbours that are alike are one shape: hundreds of commits stay a small picture."""
    outcomes = [_find(name, replay) for replay in replays]
    hits = sum(step is not None and step.hit for step in outcomes)
    count = sum(step is not None for step in outcomes)
    label = step_label(name)
    short = label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
    yield f"<g><title>{_text(label)}: {hits} of {count} cached</title>"
    yield f'<text class="mono" x="20" y="{y + 11}">{_text(short)}</text>'
    width = _WIDE / max(1, len(replays))
    start = 0
    for end in range(1, len(outcomes) + 1):
        first = outcomes[start]
        if end < len(outcomes) and _kind(outcomes[end]) == _kind(first):
            continue
        x, wide = _LEFT + start * width, (end - start) * width
        if first is not None and first.hit:
            yield f'<rect class="hit" x="{x:.1f}" y="{y + 9}" width="{wide:.1f}" height="2"/>'
        elif first is not None:
            yield (
                f'<rect class="miss" x="{x:.1f}" y="{y + 1}" width="{wide:.1f}" height="{_CELL}"/>'
            )
        start = end
    yield f'<text class="soft" x="{_LEFT + _WIDE + 12}" y="{y + 11}">{hits} / {count}</text></g>'


def _bars(replays: Sequence[Replay], most: float, y: int) -> Iterator[str]:
    width = _WIDE / max(1, len(replays))
    base = y + _BARS
    told = _text(f"time of the steps that ran, at most {duration(most)}")
    yield f'<text class="soft" x="20" y="{base - 4}">{told}</text>'
    for place, replay in enumerate(replays):
        tall = _seconds(replay) / most * _BARS
        if tall >= 0.05:
            yield (
                f'<rect class="time" x="{_LEFT + place * width:.1f}" y="{base - tall:.1f}" '
                f'width="{max(width * 0.8, 0.5):.1f}" height="{tall:.1f}"/>'
            )
    yield f'<line class="line" x1="{_LEFT}" x2="{_LEFT + _WIDE}" y1="{base}" y2="{base}"/>'


def _legend(y: int) -> Iterator[str]:
    yield f'<rect class="miss" x="{_LEFT}" y="{y - 4}" width="18" height="{_CELL}"/>'
    yield f'<text class="soft" x="{_LEFT + 25}" y="{y + 6}">ran</text>'
    yield f'<rect class="hit" x="{_LEFT + 80}" y="{y + 2}" width="18" height="2"/>'
    yield f'<text class="soft" x="{_LEFT + 105}" y="{y + 6}">cached</text>'
    yield (
        f'<text class="soft" x="{_LEFT + _WIDE}" y="{y + 6}" text-anchor="end">'
        "a column a commit, the latest at the right</text>"
    )


def _described(found: Forecast) -> str:
    parts = []
    for after, name in ((False, found.before), (True, found.after)):
        if name:
            total = found.total(after=after)
            parts.append(f"{name}: {total.hits} steps cached, {total.misses} ran.")
    return " ".join(parts)


def _names(replays: Sequence[Replay]) -> list[StepName]:
    """Those of the latest build first."""
    return list(dict.fromkeys(s.name for replay in reversed(replays) for s in replay.steps))


def _find(name: StepName, replay: Replay) -> ForecastStep | None:
    return next((step for step in replay.steps if step.name == name), None)


def _kind(step: ForecastStep | None) -> bool | None:
    return None if step is None else step.hit


def _seconds(replay: Replay) -> float:
    return sum(step.seconds or 0.0 for step in replay.steps if not step.hit)


def _text(text: str) -> str:
    return escape(text.encode("utf-8", "replace").decode())
