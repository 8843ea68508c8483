"""The state of a running build as the terminal shows it, folded from its events."""

from __future__ import annotations

from collections import deque
from typing import assert_never

import msgspec

from lamina.trace import events
from lamina.trace.events import Event
from lamina.ui.outline import SAME_RESULT, why
from lamina.ui.printable import one_line, terminal_line

TAIL = 6
KEPT_FOR_FAILURE = 40
LONGEST_LINE = 4096
MOST_READ_AT_ONCE = 64 * 1024


class Part(msgspec.Struct):
    """A measured part of a step: a layer pulled, a blob written."""

    latest: events.StepProgress
    started: float


class Row(msgspec.Struct):
    """A step. `lines` are the last that it printed, made safe to show; `partial` has no end yet."""

    name: str
    started: float
    why: str = ""
    note: str = ""
    parts: dict[str, Part] = msgspec.field(default_factory=dict)
    lines: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT_FOR_FAILURE))
    partial: bytes = b""
    finished: events.StepFinished | None = None

    def tail(self, count: int) -> list[str]:
        """The last `count` lines of its output."""
        unfinished = terminal_line(self.partial)
        lines = [*self.lines, *([unfinished] if unfinished else [])]
        return lines[-count:] if count else []

    def seconds(self, now: float) -> float:
        return self.finished.seconds if self.finished else max(now - self.started, 0.0)

    def failed(self) -> bool:
        return bool(self.finished and self.finished.error and not self.finished.canceled)

    def add_output(self, data: bytes) -> None:
        if len(data) > MOST_READ_AT_ONCE:
            self.partial, data = b"", data[-MOST_READ_AT_ONCE:]
        *complete, rest = (self.partial + data).split(b"\n")
        self.lines.extend(terminal_line(line[-LONGEST_LINE:]) for line in complete)
        self.partial = rest[-LONGEST_LINE:]


class Board(msgspec.Struct):
    """All steps of a build in the order in which they started."""

    rows: dict[int, Row] = msgspec.field(default_factory=dict)
    warnings: list[events.Warned] = msgspec.field(default_factory=list)
    finished: events.BuildFinished | None = None

    def take(self, event: Event) -> None:
        match event:
            case events.BuildStarted() | events.StepWaited() | events.StepMounted():
                pass
            case events.BuildFinished():
                self.finished = event
            case events.Warned():
                self.warnings.append(event)
            case events.StepStarted():
                self.rows[event.step] = Row(one_line(event.name), event.time)
            case events.StepDecided():
                self.rows[event.step].why = one_line(why(event.verdict))
            case events.StepNote():
                self.rows[event.step].note = one_line(event.text)
            case events.StepOutput():
                self.rows[event.step].add_output(event.data)
            case events.StepProgress():
                parts = self.rows[event.step].parts
                known = parts.setdefault(event.what, Part(event, event.time))
                known.latest = event
            case events.StepFinished():
                if event.step not in self.rows:  # its beginning was interrupted
                    return
                row = self.rows[event.step]
                row.finished = event
                if event.same:
                    row.why = "; ".join(filter(None, [row.why, SAME_RESULT]))
            case _:
                assert_never(event)

    def ended(self) -> int:
        return sum(row.finished is not None for row in self.rows.values())
