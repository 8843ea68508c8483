"""The steps of a build over time, and which of them decided how long it took.

    load metadata ─┐
    FROM ──────────┴─ RUN npm ci ───────────┐
    COPY src ─────────── RUN test ──┐       ├─ COPY --from=build ─ exporting
                                    └───────┘
The critical path is walked from the end: what ended last, then of its inputs the one that ended
last, and so on. A step whose inputs nobody recorded (an export, the base image) began when what
ended last before it had ended. Steps that took no noticeable part of the time are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from lamina.trace.events import StepWaited
from lamina.trace.steps import RecordedStep
from lamina.trace.verdict import Hit

SpanKind = Literal["cached", "run", "wait", "download", "work"]
Outcome = Literal["cached", "ran", "same", "failed", "canceled", "done", "unfinished"]
_JITTER = 0.005  # seconds between the end of a step and the beginning of what waited for it
_TURN = "its turn"
_NOTICEABLE = 0.01  # of the whole time
_SHORTEST = 0.05  # seconds of waiting for its turn that are worth a word


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a step's time, in seconds since the build's start: it was `cached`, had to `wait`
    (for `what`), loaded something down, ran; `work` is what no cache has to do with.
    """

    kind: SpanKind
    start: float
    end: float
    what: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A step over time. `spans` follow each other from `start` to `end`, without gaps."""

    step: int
    outcome: Outcome
    start: float
    end: float
    spans: tuple[Span, ...]

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Bars in the order in which they began. `critical` are steps, first to last."""

    seconds: float
    bars: tuple[Bar, ...]
    critical: tuple[int, ...] = ()
    critical_seconds: float = 0.0


def draw(steps: Mapping[int, RecordedStep], seconds: float | None) -> Timeline:
    """`seconds` is what the whole build took; None for one that did not end."""
    last = max((step.started + step.seconds for step in steps.values()), default=0.0)
    whole = last if seconds is None else max(seconds, last)
    bars = {number: _bar(step, whole) for number, step in steps.items()}
    path = tuple(
        number
        for number in reversed(list(_back(steps, bars)))
        if bars[number].seconds >= _NOTICEABLE * whole
    )
    return Timeline(
        seconds=whole,
        bars=tuple(sorted(bars.values(), key=lambda bar: (bar.start, bar.step))),
        critical=path,
        critical_seconds=sum(bars[number].seconds for number in path),
    )


def outcome_of(step: RecordedStep) -> Outcome:
    """What became of a step."""
    if step.canceled:
        return "canceled"
    if step.error:
        return "failed"
    if not step.ended:
        return "unfinished"
    if step.cached:
        return "cached"
    if step.verdict is None:
        return "done"
    return "same" if step.same else "ran"


def _bar(step: RecordedStep, whole: float) -> Bar:
    end = step.started + step.seconds if step.ended else max(whole, step.started)
    return Bar(
        step=step.number,
        outcome=outcome_of(step),
        start=step.started,
        end=end,
        spans=tuple(_spans(step, end)),
    )


def _spans(step: RecordedStep, end: float) -> Iterator[Span]:
    """The step's time, cut where it waited."""
    at = step.started
    for wait in _waits(step):
        start = min(max(wait.time - wait.seconds, at), end)
        if start > at:
            yield Span(kind=_kind(step), start=at, end=start)
        at = min(max(wait.time, start), end)
        yield Span(kind="wait", start=start, end=at, what=wait.what)
    if end > at or at == step.started:
        yield Span(kind=_kind(step), start=at, end=end)


def _waits(step: RecordedStep) -> Sequence[StepWaited]:
    """All that it waited for, in order. Until it was decided, a step that ran did nothing else."""
    decided = step.decided
    if decided is None or isinstance(step.verdict, Hit):
        return step.waits
    before = sum(wait.seconds for wait in step.waits if wait.time <= decided + _JITTER)
    turn = decided - step.started - before
    if turn < _SHORTEST:
        return step.waits
    first = StepWaited(time=step.started + turn, step=step.number, what=_TURN, seconds=turn)
    return (first, *step.waits)


def _kind(step: RecordedStep) -> SpanKind:
    if step.verdict is None:
        loaded = any(part.unit == "bytes" and part.current for part in step.parts_done)
        exported = step.text.startswith("exporting")
        return "download" if loaded and not exported else "work"
    return "cached" if step.cached else "run"


def _back(steps: Mapping[int, RecordedStep], bars: Mapping[int, Bar]) -> Iterator[int]:
    """The critical path, last step first."""
    seen = set[int]()
    at: int | None = _latest(bars.values())
    while at is not None and at not in seen:
        seen.add(at)
        yield at
        limit = bars[at].start + _JITTER
        inputs = {number for group in steps[at].inputs for number in group}
        ended = [bar for bar in bars.values() if bar.end <= limit and bar.step not in seen]
        at = _latest([bar for bar in ended if bar.step in inputs] or ended)


def _latest(bars: Iterable[Bar]) -> int | None:
    """What ended last; of several the one that took longest."""
    best = max(bars, key=lambda bar: (bar.end, bar.seconds), default=None)
    return None if best is None else best.step
