"""Progress as plain text, in BuildKit's format: a block a step, numbered lines, one step at a time.

Steps run at once, but one is shown at a time, so that their output can be read. The rules are those
of BuildKit's `progressui`: a step that ended is shown at once; another one that runs takes over
when the one shown ends, when it has waited for ten seconds, or when the one shown has had its fair
share of time (five seconds, more for one that says more). A step that is left is marked by `...`,
and named again on return. Added to it are the `why:` lines under steps that were not in the cache.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import BinaryIO, assert_never

import msgspec

from lamina.trace import events
from lamina.trace.events import Event
from lamina.ui.outline import SAME_RESULT, decision, failure_block, warnings_block
from lamina.ui.printable import escaped_line
from lamina.ui.quantities import render_amount, render_moment
from lamina.ui.sink import Sink
from lamina.ui.ticker import Ticker

LONGEST_WAIT = 10.0
FAIR_SHARE = 5.0
TICK = 0.15
LONGEST_LINE = 64 * 1024
MOST_HELD_BACK = 256 * 1024
TAIL = 10


class _Amount(msgspec.Struct):
    """One measured part of a step, and what was last shown of it."""

    started: float
    latest: events.StepProgress
    changed: bool = True
    shown_at: float = -1e9
    shown: int = 0
    ended: bool = False

    def worth_showing(self) -> bool:
        latest = self.latest
        if not self.changed or self.ended:
            return False
        grown = (latest.current - self.shown) / latest.total if latest.total else 0
        return latest.done or grown >= 0.05 or latest.time - self.shown_at >= FAIR_SHARE

    def line(self) -> str:
        latest = self.latest
        amount = render_amount(latest.current, latest.total, latest.unit)
        seconds = latest.time - self.started
        parts = [latest.what, amount, f"{seconds:.1f}s" if seconds > 0.01 else ""]
        return " ".join(filter(None, [*parts, "done" if latest.done else ""]))


class _Step(msgspec.Struct):
    """A step, and what of it has not been shown yet.

    `lines` are complete; the number says how much of the line has been written already.
    `partial` is the last, unfinished line, of which `written` bytes have been written.
    `updates` counts what came since the step was last left, the first of it at `since`.
    """

    number: int
    name: str
    started: float
    lines: list[tuple[bytes, int]] = msgspec.field(default_factory=list)
    held_back: int = 0
    partial: bytes = b""
    written: int = 0
    tail: deque[bytes] = msgspec.field(default_factory=lambda: deque(maxlen=TAIL))
    amounts: dict[str, _Amount] = msgspec.field(default_factory=dict)
    finished: events.StepFinished | None = None
    updates: int = 0
    since: float = 0.0

    def add_line(self, text: str) -> None:
        self.end_partial()
        self.lines.append((escaped_line(text).encode("utf-8", "replace"), 0))

    def add_output(self, seconds: float, data: bytes) -> None:
        *complete, rest = data.split(b"\n")
        moment = render_moment(seconds).encode() + b" "
        for piece in complete:
            self.partial = (self.partial or moment) + piece
            self.end_partial()
        if rest:
            self.partial = (self.partial or moment) + rest
        if len(self.partial) > LONGEST_LINE:
            self.end_partial()
        self.held_back += len(data)

    def end_partial(self) -> None:
        if self.partial:
            self.lines.append((self.partial, self.written))
            self.tail.append(self.partial[:LONGEST_LINE])
            self.partial, self.written = b"", 0

    def updated(self, now: float) -> None:
        if self.updates == 0:
            self.since = now
        self.updates += 1


class PlainProgress:
    """A watcher that writes to `out`. Close it at the end, also after a failure."""

    def __init__(self, out: BinaryIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink = Sink(out)
        self._clock = clock
        self._offset: float | None = None
        self._lock = threading.Lock()
        self._ticker = Ticker(TICK, self.tick)
        self._steps: dict[int, _Step] = {}
        self._news: dict[int, _Step] = {}
        self._shown: _Step | None = None
        self._first = True
        self._warnings: list[events.Warned] = []

    def __call__(self, event: Event) -> None:
        with self._lock:
            if self._offset is None:
                self._offset = self._clock() - event.time
            self._take(event)
            self._show(event.time)
            waiting = bool(self._news)
        if waiting:
            self._ticker.start()

    def tick(self) -> None:
        """Show what has waited for its turn."""
        with self._lock:
            if self._news and self._offset is not None:
                self._show(self._clock() - self._offset)

    def close(self) -> None:
        """Show all that is left, then the last lines of failed steps and the warnings."""
        self._ticker.stop()
        with self._lock:
            for step in list(self._news.values()):
                self._print(step)
            if self._shown is not None and self._shown.written:
                self._sink.data(b"\n")
            for step in self._steps.values():
                ended = step.finished
                if ended is not None and ended.error and not ended.canceled:
                    self._sink.data(failure_block(step.name, step.tail))
            self._sink.text(warnings_block(self._warnings))

    def _take(self, event: Event) -> None:
        match event:
            case (
                events.BuildStarted()
                | events.BuildFinished()
                | events.StepWaited()
                | events.StepMounted()
            ):
                return
            case events.Warned():
                self._warnings.append(event)
                return
            case events.StepStarted():
                step = _Step(event.step, escaped_line(event.name), event.time)
                self._steps[event.step] = step
            case events.StepDecided():
                line = decision(event.verdict)
                if not line:
                    return
                self._steps[event.step].add_line(line)
            case events.StepNote():
                self._steps[event.step].add_line(event.text)
            case events.StepOutput():
                step = self._steps[event.step]
                step.add_output(event.time - step.started, event.data)
            case events.StepProgress():
                amount = self._steps[event.step].amounts.setdefault(
                    event.what, _Amount(event.time, event)
                )
                amount.latest, amount.changed = event, True
            case events.StepFinished():
                if event.step not in self._steps:  # its beginning was interrupted
                    return
                step = self._steps[event.step]
                step.end_partial()
                if event.same:
                    step.add_line(SAME_RESULT)
                step.finished = event
            case _:
                assert_never(event)
        self._steps[event.step].updated(event.time)
        self._news[event.step] = self._steps[event.step]

    def _show(self, now: float) -> None:
        """Write what the rules allow to be shown now."""
        before = self._shown
        ended = sorted(
            (step for step in self._news.values() if step.finished is not None),
            key=lambda step: (step is not before, step.finished and step.finished.time),
        )
        for step in ended:
            self._print(step)
        running = dict(self._news)
        if not running:
            if before is None or before.finished is not None:
                self._print_any_running()
            return
        if before is not None and before.number in running:
            self._print(before)
        if before is None or before.finished is not None:
            self._print(_busiest(running.values(), now))
            return
        running[before.number] = before
        if waiting := _next(running.values(), before, now):
            self._print(waiting)

    def _print_any_running(self) -> None:
        for step in self._steps.values():
            if step.finished is None:
                if step is not self._shown:
                    self._print(step)
                return

    def _print(self, step: _Step) -> None:
        """Write what is new of a step, under its name if another one was shown before."""
        out: list[bytes] = []
        mark = b"#%d " % step.number
        if step is not self._shown:
            out += self._leave()
            out.append(mark + step.name.encode("utf-8", "surrogateescape") + b"\n")
        amounts = [amount for amount in step.amounts.values() if amount.worth_showing()]
        if amounts:
            step.end_partial()
        for line, written in step.lines:
            out.append((line[written:] if written else mark + line) + b"\n")
        for amount in amounts:
            out.append(mark + escaped_line(amount.line()).encode("utf-8", "replace") + b"\n")
            amount.shown_at, amount.shown = amount.latest.time, amount.latest.current
            amount.changed, amount.ended = False, amount.latest.done
        if step.partial:
            out.append(step.partial[step.written :] if step.written else mark + step.partial)
            step.written = len(step.partial)
        self._shown = step
        if step.finished is not None:
            out.append(
                mark + escaped_line(_ending(step.finished)).encode("utf-8", "replace") + b"\n"
            )
            self._shown = None
        step.lines.clear()
        step.held_back = 0
        self._news.pop(step.number, None)
        self._sink.data(b"".join(out))

    def _leave(self) -> Iterable[bytes]:
        """What ends the block of the step that is shown."""
        left = self._shown
        if left is not None:
            if left.written:
                yield b"\n"
            left.written = left.updates = 0
            yield b"#%d ...\n" % left.number
        if not self._first:
            yield b"\n"
        self._first = False


def _ending(finished: events.StepFinished) -> str:
    if finished.canceled:
        return "CANCELED"
    if finished.error:
        return f"ERROR: {finished.error}"
    return "CACHED" if finished.cached else f"DONE {finished.seconds:.1f}s"


def _speed(step: _Step, now: float) -> float:
    return step.updates / max(now - step.since, 1e-6)


def _busiest(steps: Iterable[_Step], now: float) -> _Step:
    """The step that has waited too long, else the one that says the most."""
    return max(steps, key=lambda step: (now - step.since > LONGEST_WAIT, _speed(step, now)))


def _next(steps: Iterable[_Step], shown: _Step, now: float) -> _Step | None:
    """Which step takes over from the one that is shown, if one does."""
    others = [step for step in steps if step is not shown]
    for step in others:
        if now - step.since > LONGEST_WAIT or step.held_back > MOST_HELD_BACK:
            return step
    if not others:
        return None
    spoken = _speed(shown, now) if shown.updates else 0.0
    share = spoken / (spoken + sum(_speed(step, now) for step in others))
    if share < 1 and FAIR_SHARE / (1 - share) < now - shown.since:
        return _busiest(others, now)
    return None
