"""The report as one HTML file that opens offline.

It refers to nothing outside of itself. Its size is bounded: names, reasons and output are clipped,
and where that is not enough the page is rendered again with less of everything, so that fifty steps
stay below 300 KiB whatever they are called and have printed.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from lamina.trace.report import Report, ReportedImage, ReportedLayer, ReportedStep
from lamina.ui.causes import clause
from lamina.ui.explain import headline
from lamina.ui.report import words
from lamina.ui.report.reasons import of_step, reasons
from lamina.ui.report.scale import parts, place, tick_width, ticks

TEMPLATES = os.path.join(os.path.dirname(__file__), "templates")
_ROOM = 290 * 1024  # bytes of a page of up to _STEPS steps; more of them have as much more
_STEPS = 50
_NOTICEABLE = 0.01  # of the build's time: shorter steps of the builder itself are folded away
_LEAD = 160  # letters of the first sentence
_FAILED_LOG = 3  # times as much output as other steps


class _Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of all output, all instructions, a reason, a path, a value in a key; and how many
    changes of a key, files of a layer and steps of a list are shown.
    """

    logs: int
    texts: int
    clause: int
    path: int
    value: int
    changes: int
    files: int
    listed: int


_LIMITS = (
    _Limits(
        logs=90_000, texts=50_000, clause=700, path=160, value=140, changes=12, files=8, listed=40
    ),
    _Limits(
        logs=50_000, texts=25_000, clause=350, path=100, value=80, changes=5, files=5, listed=20
    ),
    _Limits(logs=20_000, texts=12_000, clause=200, path=60, value=50, changes=2, files=2, listed=8),
)


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """A step as the page shows it."""

    step: ReportedStep
    name: str
    line: str
    text: str
    parts: list[Any]
    told: str
    group: str
    reasons: list[Any]
    changes: list[tuple[str, str, str]]
    more_changes: int
    log: str
    log_whole: bool


def render_page(report: Report, *, command: str = "lamina") -> str:
    """The whole page. `command` is how the reader would call Lamina."""
    room = _ROOM * max(len(report.steps), _STEPS) // _STEPS
    page = ""
    for limits in _LIMITS:
        page = _render(report, command, limits)
        if len(page.encode()) <= room:
            break
    return page


def _render(report: Report, command: str, limits: _Limits) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(
        duration=words.duration,
        amount=words.amount,
        percent=words.percent,
        path=lambda text, limit=limits.path: words.path_text(text, limit),
        pieces=_pieces,
        clip=words.clipped,
    )
    style = environment.get_template("style.css").render(tick=tick_width(report.seconds))
    script = _read("script.js")
    page = environment.get_template("page.html").render(
        report=report,
        style=style,
        script=script,
        policy=_policy(style, script),
        words=words,
        place=place,
        command=command,
        limits=limits,
        lead=_lead(report),
        **_sections(report, limits),
    )
    return page.encode("utf-8", "replace").decode()


def _lead(report: Report) -> str:
    """The headline of the explanation; of a long one the first reason."""
    told = report.explanation
    whole = headline(told, now=report.made)
    if len(told.first) > 1 and len(whole) > _LEAD:
        first = clause(told.first[0].cause, now=report.made, steps={})
        more = words.counted(len(told.first) - 1, "more reason")
        ran = sum(step.ran for step in told.steps)
        whole = f"{ran} of {len(told.steps)} steps ran because {first}, and for {more}"
    return words.clipped(f"{whole[:1].upper()}{whole[1:]}", 900)


def _sections(report: Report, limits: _Limits) -> dict[str, object]:
    rows = _rows(report, limits)
    by_number = {row.step.step: row for row in rows}
    names = {row.step.step: row.name for row in rows}
    folded = [row for row in rows if row.group == "builder"]
    return {
        "rows": [row for row in rows if row.group != "builder"],
        "folded": folded,
        "by_number": by_number,
        "ticks": ticks(report.seconds),
        "reasons": reasons(report.explanation, names, now=report.made),
        "critical": [by_number[n] for n in report.critical if n in by_number],
        "waited": sum(s.seconds for row in rows for s in row.step.spans if s.kind == "wait"),
        "downloaded": sum(row.step.downloaded or 0 for row in rows),
        "images": [(image, _shares(image)) for image in report.images],
        "trend": _trend(report),
        "counts": {group: sum(row.group == group for row in rows) for group in ("ran", "cached")},
    }


def _rows(report: Report, limits: _Limits) -> list[_Row]:
    explained = {step.step: step for step in report.explanation.steps}
    names = {step.step: words.clipped(words.step_name(step), 200) for step in report.steps}
    logs = _log_budget(report.steps, limits.logs)
    share = _share(limits.texts, len(report.steps), 200, 1500)
    rows = []
    for step in report.steps:
        log, whole = "", True
        if step.log is not None:
            log, fits = words.log_lines(step.log.data, logs[step.step])
            whole = fits and step.log.whole
        told = explained.get(step.step)
        rows.append(
            _Row(
                step=step,
                name=names[step.step],
                line=words.clipped(words.command_line(step.text), 160),
                text=words.clipped(step.text, share),
                parts=parts(step, report.seconds),
                told=words.spans_sentence(step),
                group=_group(step, report.seconds),
                reasons=[
                    (words.clipped(reason.text, limits.clause), reason)
                    for reason in (of_step(told, names, now=report.made) if told else ())
                ],
                changes=[
                    (
                        words.path_text(c.part, limits.value),
                        _value(c.before, limits.value),
                        _value(c.after, limits.value),
                    )
                    for c in step.changes[: limits.changes]
                ],
                more_changes=max(len(step.changes) - limits.changes, 0) + step.left_out,
                log=log,
                log_whole=whole,
            )
        )
    return rows


def _group(step: ReportedStep, seconds: float) -> str:
    """Which filter shows the step. What the builder did by itself, and quickly, is folded away."""
    if step.internal:
        seen = step.critical or step.downloaded or step.error
        return "work" if seen or step.seconds >= _NOTICEABLE * seconds else "builder"
    return "cached" if step.outcome == "cached" else "ran"


def _log_budget(steps: Sequence[ReportedStep], whole: int) -> dict[int, int]:
    """Bytes of output by step; a failed one may have more."""
    logged = [step for step in steps if step.log is not None]
    share = _share(whole, len(logged), 300, 4000)
    return {step.step: share * _FAILED_LOG if step.error else share for step in logged}


def _share(whole: int, count: int, least: int, most: int) -> int:
    return max(least, min(most, whole // max(count, 1)))


def _value(text: str | None, limit: int) -> str:
    if text is None:
        return "—"
    if text.startswith("sha256:"):
        return text[: len("sha256:") + words.SHORT]
    return words.clipped(text, limit) or '""'


def _shares(image: ReportedImage) -> list[tuple[ReportedLayer, float, float]]:
    """Layers with their size, and what is wasted of it, in percent of the largest one."""
    largest = max((layer.size for layer in image.layers), default=0)
    return [
        (layer, place(layer.size, largest), place(min(layer.wasted, layer.size), largest))
        for layer in image.layers
    ]


def _trend(report: Report) -> list[dict[str, object]]:
    longest = max((point.seconds or 0.0 for point in report.trend), default=0.0)
    count = max(len(report.trend), 1)
    return [
        {
            "point": point,
            "at": place(index, count),
            "width": round(100 / count, 3),
            "height": place(point.seconds or 0.0, longest),
            "here": point.build == report.build,
        }
        for index, point in enumerate(report.trend)
    ]


def _pieces(text: str) -> list[tuple[bool, str]]:
    """Text with `code` in it: (is it code, the text)."""
    return [(bool(index % 2), piece) for index, piece in enumerate(text.split("`")) if piece]


def _policy(style: str, script: str) -> str:
    """The content security policy: nothing from anywhere, and of what is here only our own."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _read(name: str) -> str:
    with open(os.path.join(TEMPLATES, name), encoding="utf-8") as file:
        return file.read()
