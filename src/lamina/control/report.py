"""`lamina report`: all that is known of a build, gathered from its record and the store.

Nothing is built, fetched or changed. What is not here any more (a pruned layer, the context of a
build that was imported) is left out, and the report says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from lamina.control.explain import explain
from lamina.control.history import History, recorded_steps
from lamina.control.recording.sizes import sizes_of
from lamina.control.reporting.context import look_at_context
from lamina.control.reporting.layers import Layers
from lamina.control.store import Store, open_store
from lamina.errors import LaminaError
from lamina.oci.digest import parse_digest
from lamina.trace.events import Warned
from lamina.trace.record import BuildRecord, DamagedRecord
from lamina.trace.report import (
    FORMAT_VERSION,
    LogTail,
    MountUse,
    PartChange,
    Report,
    ReportedMount,
    ReportedStep,
    TrendPoint,
)
from lamina.trace.steps import RecordedStep
from lamina.trace.timeline import Timeline, draw
from lamina.trace.verdict import Hit, KeyChanged, sentence

_BUILDS = 20  # of the trend
_CHANGES = 50  # parts of a key that are listed
_TAIL = 4096  # bytes of a log; of a failed step's four times as many


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """A report, and where the build's own files are."""

    report: Report
    folder: str


def gather(root: str, build: str, *, now: float) -> Gathered:
    """Gather the report of a build. `now` as in time.time().

    Raises UnknownBuild, DamagedRecord and HostError.
    """
    store, history = open_store(root), History.of(root)
    record = history.find(build)
    steps = recorded_steps(record)
    end = record.finished
    timeline = draw(steps, end.seconds if end else None)
    teller = _Steps(store, history, record, timeline, sizes_of(root, record))
    reported = tuple(teller.all(steps))
    hits = [step for step in reported if step.outcome == "cached" and not step.internal]
    return Gathered(
        report=Report(
            version=FORMAT_VERSION,
            lamina=record.lamina,
            build=record.build,
            started=record.started,
            made=now,
            outcome=record.outcome,
            error=end.error if end else "",
            seconds=timeline.seconds,
            cached=len(hits),
            ran=sum(step.ran for step in steps.values()),
            saved=sum(step.saved or 0.0 for step in hits),
            saved_unknown=sum(step.saved is None for step in hits),
            title=_title(record),
            context_place=record.context,
            dockerfile=record.dockerfile or "Dockerfile",
            target=record.target,
            platforms=record.platforms,
            tags=record.tags,
            outputs=record.outputs,
            warnings=tuple(
                dict.fromkeys(_warning(each) for each in record.events if isinstance(each, Warned))
            ),
            explanation=explain(root, record.build),
            steps=reported,
            critical=timeline.critical,
            critical_seconds=timeline.critical_seconds,
            images=Layers(store, steps).images(),
            mounts=tuple(_mounts(steps.values())),
            context=look_at_context(store, record),
            trend=tuple(trend(history, record)),
            imported=record.imported,
        ),
        folder=history.path(record.build),
    )


def _title(record: BuildRecord) -> str:
    if record.tags:
        return record.tags[0]
    return record.context.rstrip("/").rpartition("/")[2] or record.context


def _warning(warning: Warned) -> str:
    return warning.message + (f" ({warning.file}:{warning.line})" if warning.line else "")


class _Steps:
    """Tells of the steps of one build."""

    def __init__(
        self,
        store: Store,
        history: History,
        record: BuildRecord,
        timeline: Timeline,
        sizes: dict[str, int],
    ) -> None:
        self.store = store
        self.history = history
        self.build = record.build
        self.timeline = timeline
        self.sizes = sizes

    def all(self, steps: dict[int, RecordedStep]) -> Iterator[ReportedStep]:
        """In the order in which they began."""
        critical = frozenset(self.timeline.critical)
        for bar in self.timeline.bars:
            step, verdict = steps[bar.step], steps[bar.step].verdict
            changes = verdict.changes if isinstance(verdict, KeyChanged) else ()
            yield ReportedStep(
                step=step.number,
                where=step.label,
                text=step.text,
                file=step.file,
                line=step.line,
                internal=verdict is None,
                outcome=bar.outcome,
                start=bar.start,
                end=bar.end,
                spans=bar.spans,
                critical=step.number in critical,
                inputs=tuple(dict.fromkeys(each for group in step.inputs for each in group)),
                why=sentence(verdict) if verdict is not None else "",
                key=step.key,
                error="" if step.canceled else step.error,
                notes=step.notes,
                saved=self._saved(step),
                changes=tuple(
                    PartChange(part=c.part, before=c.before, after=c.after)
                    for c in changes[:_CHANGES]
                ),
                left_out=_left_out(step),
                downloaded=_downloaded(step),
                size=self.sizes.get(step.key) if step.key else None,
                log=self._log(step),
            )

    def _saved(self, step: RecordedStep) -> float | None:
        """What a cached step took when it ran, as its record in the cache says."""
        if not isinstance(step.verdict, Hit):
            return None
        try:
            record = self.store.index.record(parse_digest(step.verdict.record))
        except LaminaError:
            return None
        return record.seconds if record is not None else None

    def _log(self, step: RecordedStep) -> LogTail | None:
        most = 4 * _TAIL if step.error else _TAIL
        try:
            with open(self.history.path(self.build, f"{step.number}.log"), "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - most, 0))
                data = file.read(most)
        except OSError:
            return None
        if not size:
            return None
        if size > most:  # from a line's beginning, where there is one
            data = data.partition(b"\n")[2] or data
        return LogTail(data=data, size=size, whole=len(data) == size)


def _left_out(step: RecordedStep) -> int:
    if not isinstance(step.verdict, KeyChanged):
        return 0
    return max(len(step.verdict.changes) - _CHANGES, 0) + step.verdict.left_out


def _downloaded(step: RecordedStep) -> int | None:
    if step.verdict is not None or step.text.startswith("exporting"):
        return None
    return sum(p.current for p in step.parts_done if p.unit == "bytes") or None


def _mounts(steps: Iterable[RecordedStep]) -> Iterator[ReportedMount]:
    """By id, in the order in which they were let go."""
    uses: dict[str, list[MountUse]] = {}
    sharing: dict[str, str] = {}
    told = sorted((use for step in steps for use in step.mounts), key=lambda use: use.time)
    for use in told:
        sharing.setdefault(use.id, use.sharing)
        uses.setdefault(use.id, []).append(
            MountUse(
                step=use.step,
                target=use.target,
                before=use.before,
                after=use.after,
                whole=use.whole,
            )
        )
    for name, all_uses in uses.items():
        yield ReportedMount(id=name, sharing=sharing[name], uses=tuple(all_uses))


def trend(history: History, record: BuildRecord) -> Sequence[TrendPoint]:
    """The last builds of the same Dockerfile up to this one, oldest first."""

    points = []
    same = (record.context, record.dockerfile, record.target, record.platforms, record.imported)
    for head in history.heads:
        place = (head.context, head.dockerfile, head.target, head.platforms, head.imported)
        if head.started > record.started or place != same:
            continue
        try:
            points.append(_point(history.record(head.build)))
        except DamagedRecord:
            continue
        if len(points) == _BUILDS:
            break
    return points[::-1]


def _point(record: BuildRecord) -> TrendPoint:
    end = record.finished
    return TrendPoint(
        build=record.build,
        started=record.started,
        outcome=record.outcome,
        seconds=end.seconds if end else None,
        cached=end.cached if end else 0,
        ran=end.ran if end else 0,
    )
