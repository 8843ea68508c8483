"""Progress of `lamina run`: silent, unless something has to be fetched first."""

from __future__ import annotations

from typing import BinaryIO

from lamina.trace import events
from lamina.trace.events import Event
from lamina.ui.plain import PlainProgress


class PullProgress:
    """A watcher that shows the steps in which something is measured, as plain progress does."""

    def __init__(self, out: BinaryIO) -> None:
        self._shown = PlainProgress(out)
        self._waiting: dict[int, events.StepStarted] = {}
        self._steps: set[int] = set()

    def __call__(self, event: Event) -> None:
        match event:
            case events.BuildStarted() | events.BuildFinished() | events.Warned():
                return
            case events.StepStarted():
                self._waiting[event.step] = event
                return
            case events.StepProgress() if event.step in self._waiting:
                self._steps.add(event.step)
                self._shown(self._waiting.pop(event.step))
            case _:
                pass
        if event.step in self._steps:
            self._shown(event)

    def close(self) -> None:
        self._shown.close()
