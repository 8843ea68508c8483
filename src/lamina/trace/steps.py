"""The steps of a build, folded from its events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import assert_never

import msgspec
from msgspec.structs import replace

from lamina.cachekey.key import Part
from lamina.trace import events
from lamina.trace.events import Event
from lamina.trace.verdict import Hit, Verdict

_NAME = re.compile(r"\[(?P<label>[^\]]*)\] (?P<text>.*)", re.DOTALL)
_POSITION = re.compile(r"(?:(?P<stage>.*?) )? *(?P<position>\d+)/(?P<total>\d+)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class RecordedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step with all that became of it. Times in seconds since the build's start.

    `verdict` is None for a step that no cache has to do with (a base image, the context). A step
    that was not `ended` was running when the build was killed. `decided` is when the verdict came:
    with one that is no hit, it ran from then on. `parts_done` are the ends of its measured parts.
    """

    number: int
    name: str
    started: float
    file: str = ""
    line: int = 0
    inputs: tuple[tuple[int, ...], ...] = ()
    verdict: Verdict | None = None
    key: str = ""
    parts: tuple[Part, ...] = ()
    decided: float | None = None
    notes: tuple[str, ...] = ()
    waits: tuple[events.StepWaited, ...] = ()
    mounts: tuple[events.StepMounted, ...] = ()
    parts_done: tuple[events.StepProgress, ...] = ()
    ended: bool = False
    seconds: float = 0.0
    cached: bool = False
    same: bool = False
    canceled: bool = False
    error: str = ""

    @property
    def label(self) -> str:
        """What stands in brackets before the instruction: `build 3/7`."""
        found = _NAME.fullmatch(self.name)
        return " ".join(found["label"].split()) if found else ""

    @property
    def text(self) -> str:
        """The instruction, or what else the step does."""
        found = _NAME.fullmatch(self.name)
        return found["text"] if found else self.name

    @property
    def stage(self) -> str:
        """The stage, with its platform where the build has several."""
        found = _POSITION.fullmatch(self.label)
        return (found["stage"] or "") if found else self.label

    @property
    def position(self) -> str:
        """`3/7`, or "" for what is no step of a stage."""
        found = _POSITION.fullmatch(self.label)
        return f"{found['position']}/{found['total']}" if found else ""

    @property
    def image(self) -> str:
        """The digest of the image that the step stands for, or ""."""
        if self.verdict is not None or not (
            self.text.startswith(("FROM ", "sha256:")) or self.label.startswith("context ")
        ):
            return ""
        found = _DIGEST.search(self.name)
        return found[0] if found else ""

    @property
    def ran(self) -> bool:
        """Whether it was run, or began to, for want of a result in the cache."""
        decided = self.verdict is not None and not isinstance(self.verdict, Hit)
        return decided and not self.cached


def steps_of(happened: Iterable[Event]) -> dict[int, RecordedStep]:
    """The steps by their number, in the order in which they started.

    A step that was cached, and had to run later for the sake of its files, is there once.
    """
    steps: dict[int, RecordedStep] = {}
    for event in happened:
        match event:
            case events.StepStarted():
                steps[event.step] = RecordedStep(
                    number=event.step,
                    name=event.name,
                    started=event.time,
                    file=event.file,
                    line=event.line,
                    inputs=event.inputs,
                )
            case (
                events.StepDecided()
                | events.StepNote()
                | events.StepWaited()
                | events.StepMounted()
                | events.StepFinished()
            ):
                if event.step in steps:
                    steps[event.step] = _grown(steps[event.step], event)
            case events.StepProgress(done=True):
                if event.step in steps:
                    steps[event.step] = _grown(steps[event.step], event)
            case (
                events.BuildStarted()
                | events.BuildFinished()
                | events.Warned()
                | events.StepOutput()
                | events.StepProgress()
            ):
                continue
            case _:
                assert_never(event)
    return _once(steps)


def _once(steps: dict[int, RecordedStep]) -> dict[int, RecordedStep]:
    """Steps that have the same name are the same one, begun anew: the last of them counts."""
    last = {step.name: number for number, step in steps.items() if step.position}
    moved = {number: last.get(step.name, number) for number, step in steps.items()}
    if all(number == other for number, other in moved.items()):
        return steps
    return {
        number: replace(
            step,
            inputs=tuple(tuple(moved.get(each, each) for each in group) for group in step.inputs),
        )
        for number, step in steps.items()
        if moved[number] == number
    }


_Told = (
    events.StepDecided
    | events.StepNote
    | events.StepWaited
    | events.StepMounted
    | events.StepProgress
    | events.StepFinished
)


def _grown(step: RecordedStep, event: _Told) -> RecordedStep:
    match event:
        case events.StepDecided():
            return replace(
                step, verdict=event.verdict, key=event.key, parts=event.parts, decided=event.time
            )
        case events.StepWaited():
            return replace(step, waits=(*step.waits, event))
        case events.StepMounted():
            return replace(step, mounts=(*step.mounts, event))
        case events.StepProgress():
            return replace(step, parts_done=(*step.parts_done, event))
        case events.StepNote():
            return replace(step, notes=(*step.notes, event.text))
        case events.StepFinished():
            return replace(
                step,
                ended=True,
                seconds=event.seconds,
                cached=event.cached,
                same=event.same,
                canceled=event.canceled,
                error=event.error,
            )
