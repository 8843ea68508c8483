"""`lamina explain`: why the steps of a build ran, from its record and those of earlier builds.

No key is computed here. A step that ran has its reason in the trace, as it was found when the step
was looked up. What is added is what the user calls it: which step of the earlier build it is, where
a variable is declared, which image was meant, and which of several reasons follow from others.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from lamina.control.explaining.alignment import Alignment, align
from lamina.control.explaining.comparison import Comparer, Difference, of_verdict
from lamina.control.explaining.first_causes import first_causes
from lamina.control.explaining.reasons import Build, Reasons
from lamina.control.history import History, find_step, recorded_steps
from lamina.control.recording.removals import find_removal
from lamina.control.store import Store, open_store
from lamina.errors import LaminaError
from lamina.oci.digest import parse_digest
from lamina.trace import explanation as e
from lamina.trace.events import Warned
from lamina.trace.record import BuildRecord
from lamina.trace.steps import RecordedStep
from lamina.trace.verdict import (
    Forced,
    Hit,
    KeyChanged,
    NeverBuilt,
    ResultGone,
    Uncacheable,
)


def explain(
    root: str, build: str, step: str = "", *, against: str = "", diff: bool = False
) -> e.Explanation:
    """Explain a build, or one step of it and what that follows from.

    `against` is another build, also an imported one, to compare with step by step; without it every
    step is compared with the nearest earlier record of it. `diff` adds what changed in the text of
    files. Raises UnknownBuild, UnknownStep, DamagedRecord and HostError.
    """
    store, history = open_store(root), History.of(root)
    record = history.find(build)
    explainer = _Explainer(store, history, record, history.find(against) if against else None)
    chosen = None
    if step:
        chosen = find_step(explainer.build.steps, step, build=record.build).number
    return explainer.explain(chosen, diff=diff)


class _Explainer:
    """Explains one build."""

    def __init__(
        self, store: Store, history: History, record: BuildRecord, against: BuildRecord | None
    ) -> None:
        self.store = store
        self.history = history
        self.against = against
        self.build = Build(record, recorded_steps(record))
        earlier = against or history.earlier(record)
        self.earlier = Build(earlier, recorded_steps(earlier)) if earlier else None
        self.alignment: Alignment | None = None
        if self.earlier is not None:
            self.alignment = align(self.earlier.steps, self.build.steps)
        self.comparer = Comparer(store.index, history)
        self.reasons = Reasons(
            build=self.build,
            earlier=self.earlier,
            alignment=self.alignment,
            comparer=self.comparer,
            history=history,
            moved=self._moved,
        )
        self.differences: dict[int, Difference] = {}

    def explain(self, chosen: int | None, *, diff: bool) -> e.Explanation:
        causes = {
            number: tuple(self._causes(step))
            for number, step in self.build.steps.items()
            if step.verdict is not None
        }
        wanted = set(causes) if chosen is None else _upstream(chosen, causes)
        first = tuple(first_causes(causes, wanted))
        record = self.build.record
        return e.Explanation(
            build=record.build,
            started=record.started,
            context=record.context,
            dockerfile=record.dockerfile,
            outcome=record.outcome,
            against=self.against.build if self.against else None,
            step=chosen,
            first=first,
            steps=tuple(
                self._told(step, causes.get(step.number, ()), diff=diff)
                for step in self.build.steps.values()
                if step.number in wanted
            ),
            warnings=tuple(
                dict.fromkeys(each.message for each in record.events if isinstance(each, Warned))
            ),
        )

    def _told(
        self, step: RecordedStep, causes: tuple[e.Cause, ...], *, diff: bool
    ) -> e.StepExplanation:
        verdict = step.verdict
        told = e.StepExplanation(
            step=step.number,
            where=step.label,
            text=step.text,
            file=step.file,
            line=step.line,
            ran=step.ran,
            same=step.same,
            failed=bool(step.error) and not step.canceled,
            seconds=step.seconds,
            causes=causes,
            asked=verdict.asked if isinstance(verdict, NeverBuilt | KeyChanged) else (),
            source=verdict.source if isinstance(verdict, Hit) else "",
        )
        if diff and step.number in self.differences:
            from lamina.control.explaining.contents import text_diff

            keys = [step.key, self._record_compared(step)]
            listed = self.differences[step.number].listed
            told = replace(told, diff=text_diff(self.store, listed, keys))
        return told

    def _record_compared(self, step: RecordedStep) -> str:
        """The key of the earlier record that a step was compared with."""
        if not self.against and isinstance(step.verdict, KeyChanged) and step.verdict.record:
            return step.verdict.record
        partner = self._partner(step)
        return partner.key if partner else ""

    def _moved(self, number: int) -> bool:
        step = self.build.steps[number]
        if self.against is None:
            return step.ran and not step.same
        partner = self._partner(step)
        return step.verdict is not None and (partner is None or partner.key != step.key)

    def _partner(self, step: RecordedStep) -> RecordedStep | None:
        return self.alignment.partners.get(step.number) if self.alignment else None

    def _causes(self, step: RecordedStep) -> list[e.Cause]:
        if self.against is not None:
            return self._against(step)
        match step.verdict:
            case None | Hit():
                return []
            case Forced(flag=flag):
                return [e.ForcedBy(flag=flag)]
            case Uncacheable(why=why):
                return [e.NotCacheable(why=why)]
            case ResultGone() as gone:
                return [self._removed(step, source=gone.source)]
            case NeverBuilt():
                return self._unknown(step)
            case KeyChanged() as changed:
                return self._changed(step, changed)

    def _against(self, step: RecordedStep) -> list[e.Cause]:
        """What differs from the other build, whatever this one found in its own cache."""
        partner = self._partner(step)
        if partner is None:
            return [e.StepAdded(text=step.text)] if step.position else []
        if not partner.key:
            return []  # the other build did not get so far
        if partner.key != step.key:
            return self._compared(step, partner)
        match step.verdict:
            case Forced(flag=flag):
                return [e.ForcedBy(flag=flag)]
            case ResultGone(source=source):
                return [self._removed(step, source=source)]
            case NeverBuilt() | KeyChanged():
                return [e.UnknownHere()]
            case _:
                return []

    def _compared(self, step: RecordedStep, partner: RecordedStep) -> list[e.Cause]:
        assert self.earlier is not None
        difference = self.comparer.compare(
            (self.earlier.record, partner), (self.build.record, step)
        )
        self.differences[step.number] = difference
        return self.reasons.of(step, difference, partner)

    def _changed(self, step: RecordedStep, verdict: KeyChanged) -> list[e.Cause]:
        known = self._known_before(step)
        if known is not None:
            return [known]
        partner, difference = self._partner(step), of_verdict(verdict)
        rewritten = "instruction" in difference.names or any(
            change.part.startswith("files:") and not (change.before and change.after)
            for change in difference.changes
        )
        if rewritten and partner is not None and partner.text == step.text:
            return self._compared(step, partner)  # the same step, at another place
        if rewritten and partner is None and self._is_added(step):
            return [e.StepAdded(text=step.text)]
        self.differences[step.number] = difference
        return self.reasons.of(step, difference, partner)

    def _unknown(self, step: RecordedStep) -> list[e.Cause]:
        known = self._known_before(step)
        if known is not None:
            return [known]
        partner = self._partner(step)
        if partner is not None and partner.key:
            return self._compared(step, partner)
        if self._is_added(step):
            return [e.StepAdded(text=step.text)]
        asked = step.verdict.asked if isinstance(step.verdict, NeverBuilt) else ()
        return [e.NotHeld(caches=asked)] if asked else [e.NeverBuiltHere()]

    def _is_added(self, step: RecordedStep) -> bool:
        """Whether the earlier build's Dockerfile has no such step. Where it has one, that build
        ended before it came to it.
        """
        if self.alignment is None or step.number not in self.alignment.added:
            return False
        written = self.build.dockerfile.written(step.line)
        return not written or self.earlier is None or not self.earlier.dockerfile.writes(written)

    def _known_before(self, step: RecordedStep) -> e.Cause | None:
        """An earlier build looked for the very same key: it failed there, or was removed since."""
        for record in self.history.holding(step.key, before=self.build.record.started):
            for other in recorded_steps(record).values():
                if other.key != step.key:
                    continue
                if other.ran and (other.error or not other.ended):
                    error = other.error or "stopped"
                    return e.FailedBefore(build=record.build, at=record.started, error=error)
                return self._removed(step, build=record)
        return None

    def _removed(
        self, step: RecordedStep, *, source: str = "", build: BuildRecord | None = None
    ) -> e.Removed:
        built, layers, name = None, list[str](), ""
        try:
            record = self.store.index.record(parse_digest(step.key))
        except LaminaError:
            record = None
        if record is not None:
            built, layers = record.created, [layer.id for layer in record.stack]
        before = self.build.record.started
        for earlier in [build] if build else self.history.holding(step.key, before=before):
            built, name = earlier.started, earlier.build
            if any(s.key == step.key and s.ran for s in recorded_steps(earlier).values()):
                break
        gone = find_removal(self.store.root, layers=layers, key=step.key)
        return e.Removed(
            by=gone.by if gone else "",
            at=gone.at if gone else None,
            built=built if built is None or built <= before else None,
            build=name,
            source=source,
        )


def _upstream(chosen: int, causes: Mapping[int, tuple[e.Cause, ...]]) -> set[int]:
    """The step, and those that it ran because of."""
    found, todo = set[int](), [chosen]
    while todo:
        number = todo.pop()
        if number not in found:
            found.add(number)
            todo += [c.step for c in causes.get(number, ()) if isinstance(c, e.Follows)]
    return found
