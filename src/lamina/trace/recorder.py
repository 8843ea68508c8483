"""Gives events their time and step number, and passes them to whoever watches."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from lamina.cachekey.key import Part
from lamina.notation.masking import without_credentials
from lamina.source import printable
from lamina.trace import events
from lamina.trace.events import Event
from lamina.trace.verdict import Verdict

Progress = Callable[[int, int], None]
"""Takes how many bytes are done, and how many there are (0: nobody knows)."""


class Watcher(Protocol):
    """Takes every event, in order, from one thread at a time."""

    def __call__(self, event: Event, /) -> None: ...


class Recorder:
    """The trace of a running build. Safe to use from several threads."""

    def __init__(
        self,
        watchers: tuple[Watcher, ...],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._watchers = watchers
        self._clock = clock
        self._wall_clock = wall_clock
        self._start = clock()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, Step] = {}
        self.cached = 0
        self.ran = 0

    def now(self) -> float:
        """Seconds since the build began."""
        return self._clock() - self._start

    def emit(self, event: Event) -> None:
        """Shows the event to every watcher."""
        with self._lock:
            for watch in self._watchers:
                watch(event)

    def build_started(self, build: str) -> None:
        self.emit(events.BuildStarted(time=0.0, build=build, started=self._wall_clock()))

    def build_finished(self, error: str = "") -> None:
        """End the build. Steps that an interrupt has left open end with it, as canceled."""
        for step in tuple(self._open.values()):
            step.finish(error="canceled", canceled=True)
        now = self.now()
        self.emit(
            events.BuildFinished(
                time=now, seconds=now, cached=self.cached, ran=self.ran, error=_told(error)
            )
        )

    def warn(self, message: str, *, file: str = "", line: int = 0) -> None:
        self.emit(
            events.Warned(time=self.now(), message=_told(message), file=_told(file), line=line)
        )

    def count(self, step: Step, *, cached: bool) -> None:
        """Count a step of the Dockerfile that was cached, or that ran."""
        with self._lock:
            if cached:
                self.cached += bool(step.number)
            else:
                self.ran += bool(step.number)

    def uncount(self) -> None:
        """A step that was counted as cached has to run after all."""
        with self._lock:
            self.cached -= 1

    def step(
        self,
        name: str,
        *,
        file: str = "",
        line: int = 0,
        inputs: tuple[tuple[int, ...], ...] = (),
    ) -> Step:
        """Start a step. One without a name leaves no events, and has the number 0."""
        now = self.now()
        if not name:
            return Step(self, 0, now)
        number = next(self._numbers)
        # Known before it is seen: whoever sees it may send an interrupt at once.
        step = self._open[number] = Step(self, number, now, name)
        self.emit(
            events.StepStarted(
                time=now,
                step=number,
                name=_told(name),
                file=_told(file),
                line=line,
                inputs=inputs,
            )
        )
        return step

    def close(self, step: Step) -> None:
        """The step has ended."""
        self._open.pop(step.number, None)

    def internal(self, name: str) -> AbstractContextManager[Step]:
        """A step of the builder itself, such as `[internal] load build context`."""
        return self.step_of(f"[internal] {name}")

    @contextmanager
    def step_of(self, name: str) -> Iterator[Step]:
        """A step that lasts as long as the block."""
        step = self.step(name)
        try:
            yield step
        except KeyboardInterrupt:
            step.finish(error="canceled", canceled=True)
            raise
        except BaseException as error:
            step.finish(error=str(error) or type(error).__name__)
            raise
        step.finish()


class Step:
    """One step of the trace."""

    def __init__(self, recorder: Recorder, number: int, started: float, name: str = "") -> None:
        self._recorder = recorder
        self.number = number
        self.name = name
        self._started = started
        self._finished = False
        self._decided = False

    def _emit(self, event: Event) -> None:
        if self.number:
            self._recorder.emit(event)

    def decided(self, verdict: Verdict, *, key: str = "", parts: tuple[Part, ...] = ()) -> None:
        """Tell whether the step has to run, and why; the first reason counts."""
        if self._decided:
            return
        self._decided = True
        self._emit(
            events.StepDecided(
                time=self._recorder.now(), step=self.number, verdict=verdict, key=key, parts=parts
            )
        )

    def output(self, stream: int, data: bytes) -> None:
        """Pass on what its process wrote; `stream` is 1 or 2."""
        self._emit(
            events.StepOutput(time=self._recorder.now(), step=self.number, stream=stream, data=data)
        )

    def progress(
        self, what: str, current: int, total: int = 0, *, unit: str = "bytes", done: bool = False
    ) -> None:
        """Tell how far one thing of the step is; `done` ends it."""
        self._emit(
            events.StepProgress(
                time=self._recorder.now(),
                step=self.number,
                what=_told(what),
                current=current,
                total=total,
                unit=unit,
                done=done,
            )
        )

    def note(self, text: str) -> None:
        """Say something that the user should know, though nothing went wrong."""
        self._recorder.emit(
            events.StepNote(time=self._recorder.now(), step=self.number, text=_told(text))
        )

    def waited(self, what: str, seconds: float) -> None:
        """Tell that it has waited so long, until now, for what somebody else held."""
        self._emit(
            events.StepWaited(
                time=self._recorder.now(), step=self.number, what=_told(what), seconds=seconds
            )
        )

    def mounted(
        self, name: str, *, target: str, sharing: str, before: int, after: int, whole: bool
    ) -> None:
        """Tell of a cache mount that it has used, and the bytes in it before and after."""
        self._emit(
            events.StepMounted(
                time=self._recorder.now(),
                step=self.number,
                id=_told(name),
                target=_told(target),
                sharing=sharing,
                before=before,
                after=after,
                whole=whole,
            )
        )

    def finish(
        self, *, cached: bool = False, same: bool = False, canceled: bool = False, error: str = ""
    ) -> None:
        """End the step; ending it again does nothing."""
        if self._finished:
            return
        self._finished = True
        self._recorder.close(self)
        now = self._recorder.now()
        self._emit(
            events.StepFinished(
                time=now,
                step=self.number,
                seconds=now - self._started,
                cached=cached,
                same=same,
                canceled=canceled,
                error=_told(error),
            )
        )


def _told(text: str) -> str:
    """What may be shown and kept of a text."""
    return without_credentials(printable(text))
