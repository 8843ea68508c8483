"""Where things stand on an axis of time or size, in percent."""

from __future__ import annotations

from typing import Literal

import msgspec

from lamina.trace.report import ReportedStep
from lamina.ui.report.words import duration

_STEPS = (1, 2, 5, 10)
_MOST_TICKS = 6
_MINUTES = (60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
TINY = 0.7  # percent: what is shorter is drawn as a mark

PartKind = Literal["cached", "run", "wait", "download", "work", "failed"]


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the axis: where, and what stands there."""

    at: float
    label: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a bar. `tiny`: too short to be drawn as long as it is."""

    kind: PartKind
    at: float
    width: float
    tiny: bool


def ticks(seconds: float) -> list[Tick]:
    """Round times from 0 on, six at most."""
    if seconds <= 0:
        return [Tick(at=0.0, label=duration(0))]
    gap = _gap(seconds / _MOST_TICKS)
    count = int(seconds / gap)
    return [
        Tick(at=place(index * gap, seconds), label=duration(index * gap))
        for index in range(count + 1)
        if index == 0 or index * gap <= seconds * 0.97
    ]


def tick_width(seconds: float) -> float:
    """How far apart the lines of the axis are."""
    return place(_gap(seconds / _MOST_TICKS), seconds) if seconds > 0 else 100.0


def _gap(least: float) -> float:
    """The round number that is not less."""
    if least > 50:
        return next((each for each in _MINUTES if each >= least), least)
    unit = 1e-3
    while unit * 10 < least:
        unit *= 10
    return next(unit * each for each in _STEPS if unit * each >= least)


def place(at: float, whole: float) -> float:
    """In percent of `whole`, with three digits behind the point."""
    return round(100 * at / whole, 3) if whole > 0 else 0.0


def parts(step: ReportedStep, seconds: float) -> list[Part]:
    """The bar of a step."""
    bar = []
    for span in step.spans:
        at, width = place(span.start, seconds), place(span.seconds, seconds)
        tiny = width < TINY
        if tiny and len(step.spans) > 1:
            continue  # the others show where it is
        kind: PartKind = span.kind
        if span.kind in ("run", "work") and step.outcome == "failed":
            kind = "failed"
        elif step.outcome == "cached" and span.kind == "work":
            kind = "cached"
        bar.append(Part(kind=kind, at=min(at, 100 - TINY), width=width, tiny=tiny))
    return bar
