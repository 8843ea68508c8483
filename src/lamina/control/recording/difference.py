"""`lamina history diff`: two builds side by side."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from lamina.control.explaining.alignment import align
from lamina.control.explaining.comparison import Comparer
from lamina.control.history import History, recorded_steps
from lamina.control.store import open_store
from lamina.trace.pairs import Argument, BuildPair, PairedStep, StepPair
from lamina.trace.record import BuildRecord
from lamina.trace.steps import RecordedStep
from lamina.trace.verdict import Hit, sentence

_OF_THE_BUILD = ("iidfile", "metadata_file")


def diff_builds(root: str, before: str, after: str) -> BuildPair:
    """Raises UnknownBuild, DamagedRecord and HostError."""
    history = History.of(root)
    old, new = history.find(before), history.find(after)
    comparer = Comparer(open_store(root).index, history)
    return BuildPair(
        before=old.build,
        after=new.build,
        seconds=(_seconds(old), _seconds(new)),
        arguments=tuple(_arguments(old, new)),
        dockerfile=_dockerfiles(old, new),
        steps=tuple(_pairs(old, new, comparer)),
    )


def outcome_of(step: RecordedStep) -> str:
    """How a step ended, in a word."""
    if step.canceled or not step.ended:
        return "canceled"
    if step.error:
        return "failed"
    if step.same:
        return "same"
    return "cached" if step.cached or isinstance(step.verdict, Hit) else "ran"


def _pairs(old: BuildRecord, new: BuildRecord, comparer: Comparer) -> Iterator[StepPair]:
    before, after = recorded_steps(old), recorded_steps(new)
    partners = align(before, after).partners
    paired = {step.number for step in partners.values()}
    for step in after.values():
        if not step.position and not step.image:
            continue
        other = partners.get(step.number)
        if other is None:
            yield StepPair(before=None, after=_paired(step))
            continue
        if other.key == step.key or not (other.key and step.key):
            yield StepPair(before=_paired(other), after=_paired(step))
            continue
        difference = comparer.compare((old, other), (new, step))
        yield StepPair(
            before=_paired(other),
            after=_paired(step),
            changes=difference.changes,
            files=difference.files,
        )
    for step in before.values():
        if (step.position or step.image) and step.number not in paired:
            yield StepPair(before=_paired(step), after=None)


def _paired(step: RecordedStep) -> PairedStep:
    why = "" if step.verdict is None or isinstance(step.verdict, Hit) else sentence(step.verdict)
    return PairedStep(
        where=step.label,
        text=step.text,
        outcome=outcome_of(step),
        seconds=step.seconds,
        why=why,
        key=step.key,
    )


def _arguments(old: BuildRecord, new: BuildRecord) -> Iterator[Argument]:
    before, after = dict(_flat("", old.request)), dict(_flat("", new.request))
    if old.context != new.context:
        before["context"], after["context"] = old.context, new.context
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name) and name not in _OF_THE_BUILD:
            yield Argument(name=name, before=before.get(name), after=after.get(name))


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for name, item in value.items():
                yield from _flat(f"{prefix}.{name}" if prefix else str(name), item)
        case list() | tuple():
            for place, item in enumerate(value):
                yield from _flat(f"{prefix}.{place}", item)
        case _:
            yield prefix, str(value)


def _dockerfiles(old: BuildRecord, new: BuildRecord) -> str:
    lines = difflib.unified_diff(
        old.text.splitlines(),
        new.text.splitlines(),
        f"{old.dockerfile} ({old.build[:12]})",
        f"{new.dockerfile} ({new.build[:12]})",
        lineterm="",
        n=1,
    )
    return "".join(f"{line}\n" for line in lines)


def _seconds(record: BuildRecord) -> float | None:
    return record.finished.seconds if record.finished else None
