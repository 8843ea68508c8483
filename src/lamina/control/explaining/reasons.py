"""From what differs between two keys to what a user did: the causes why one step ran.

parts that differ ──▶ files, variables, base, mounts, instruction      what the user did
                 └──▶ parent, files of a stage ──▶ the steps there     what follows from it
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import msgspec
from msgspec.structs import replace

from lamina.cachekey.difference import Change, FileGroup
from lamina.control.explaining.alignment import Alignment
from lamina.control.explaining.comparison import Comparer, Difference, parts_of
from lamina.control.explaining.declarations import Declarations
from lamina.control.history import History, recorded_steps
from lamina.trace import explanation as e
from lamina.trace.record import BuildRecord
from lamina.trace.steps import RecordedStep

_SCRIPT = "files:/dev/pipes"  # where a RUN finds the script of its heredoc
_DEEPEST = 1000  # steps of one stage that a consequence is followed through


class Build(msgspec.Struct, dict=True):
    """A record with its steps and its Dockerfile."""

    record: BuildRecord
    steps: dict[int, RecordedStep]

    @cached_property
    def dockerfile(self) -> Declarations:
        return Declarations(self.record)


class Reasons(msgspec.Struct):
    """Explains the steps of `build`; `earlier` is what it is compared with, if there is anything.

    `moved` says whether a step gave another result than it did for what it is compared with.
    """

    build: Build
    earlier: Build | None
    alignment: Alignment | None
    comparer: Comparer
    history: History
    moved: Callable[[int], bool]

    def of(
        self, step: RecordedStep, difference: Difference, other: RecordedStep | None
    ) -> list[e.Cause]:
        """The causes for a key that differs; `other` is the earlier step, where it is known."""
        causes: list[e.Cause] = []
        rewritten = False
        meaning: Change | None = None
        for change in difference.changes:
            kind, _, name = change.part.partition(":")
            match kind:
                case "instruction":
                    rewritten, meaning = True, change
                case "files" if change.part == _SCRIPT or not (change.before and change.after):
                    rewritten = True
                case "files" | "input":
                    causes += self._files(step, change.part, (), other)
                case "argument" | "env":
                    causes.append(self._variable(step, change, name, argument=kind == "argument"))
                case "base":
                    causes.append(self._base(step, change))
                case "parent":
                    causes += self._from(step, 0, other)
                case "mount":
                    causes.append(
                        e.MountChanged(target=name, before=change.before, after=change.after)
                    )
                case _:
                    causes.append(
                        e.SettingChanged(name=change.part, before=change.before, after=change.after)
                    )
        within: dict[str, list[FileGroup]] = {}
        for group in difference.files:
            within.setdefault(group.within, []).append(group)
        for part, groups in within.items():
            if part == _SCRIPT:
                rewritten = True
            else:
                causes += self._files(step, part, tuple(groups), other)
        if rewritten:
            causes[:0] = self._instruction(step, other, meaning)
        return self._joined(list(dict.fromkeys(causes)))

    def _joined(self, causes: list[e.Cause]) -> list[e.Cause]:
        """An argument and the variable that an ENV makes of it are one cause: the argument."""
        variables = [each for each in causes if isinstance(each, e.VariableChanged)]
        made = {
            argument: variable
            for variable in variables
            if not variable.argument and variable.line
            for argument in variables
            if argument.argument and argument.name in self.build.dockerfile.names_in(variable.line)
        }
        gone = set(made.values())
        return [
            replace(cause, through=made[cause].name)
            if isinstance(cause, e.VariableChanged) and cause in made
            else cause
            for cause in causes
            if cause not in gone
        ]

    def _instruction(
        self, step: RecordedStep, other: RecordedStep | None, meaning: Change | None
    ) -> list[e.Cause]:
        """The text changed; or it is the same text, and a variable in it changed, or what it means
        (for the working directory or the shell is another one).
        """
        if other is not None and self.earlier is not None:
            now, then = self.build.dockerfile, self.earlier.dockerfile
            written = now.written(step.line)
            if written and written == then.written(other.line):
                variables = [
                    e.VariableChanged(
                        name=name,
                        argument=declared is None or declared.argument,
                        before=old,
                        after=new,
                        line=declared.line if declared else 0,
                        used=True,
                        instruction=True,
                    )
                    for name in now.names_in(step.line)
                    for declared in [now.variable(name, line=step.line)]
                    for old in [then.value(name, line=other.line)]
                    for new in [now.value(name, line=step.line)]
                    if old != new
                ]
                if variables:
                    return list(variables)
            if meaning is not None and other.text == step.text:
                return [
                    e.SettingChanged(name="instruction", before=meaning.before, after=meaning.after)
                ]
        before = other.text if other is not None else ""
        return [e.InstructionChanged(before=before, after=step.text)]

    def _variable(
        self, step: RecordedStep, change: Change, name: str, *, argument: bool
    ) -> e.VariableChanged:
        declared = self.build.dockerfile.variable(name, line=step.line)
        if declared is None and self.earlier is not None and change.after is None:
            declared = self.earlier.dockerfile.variable(name, line=1 << 30)
        return e.VariableChanged(
            name=name,
            argument=argument,
            before=change.before,
            after=change.after,
            line=declared.line if declared else 0,
            used=self.build.dockerfile.uses(name, line=step.line),
        )

    def _base(self, step: RecordedStep, change: Change) -> e.BaseMoved:
        image = next(iter(self._inputs(step, 0)), None)
        name, digest = _image_name(image), image.image if image else ""
        before, was = "", ""
        for identity in filter(None, [change.before]):
            found = self._image_with(identity)
            before, was = (found.image, _image_name(found)) if found else ("", "")
        return e.BaseMoved(
            name=name,
            before=before,
            after=digest if digest != before else "",
            was=was if was != name else "",
        )

    def _image_with(self, identity: str) -> RecordedStep | None:
        """The image that gave a stack, as an earlier build resolved it."""
        candidates = [self.earlier.record] if self.earlier else []
        before = self.build.record.started
        for record in (*candidates, *self.history.holding(identity, before=before)):
            steps = Build(record, recorded_steps(record)).steps
            for step in steps.values():
                if parts_of(step).get("base") == identity and step.inputs and step.inputs[0]:
                    image = steps.get(step.inputs[0][0])
                    if image is not None and image.image:
                        return image
        return None

    def _files(
        self,
        step: RecordedStep,
        part: str,
        groups: tuple[FileGroup, ...],
        other: RecordedStep | None,
    ) -> list[e.Cause]:
        """Files of the context are the user's; those of a stage come from its steps."""
        place = part.partition(":")[2]
        number, _, path = place.partition(":")
        indexes = [int(number)] if number.isdecimal() else list(range(1, len(step.inputs)))
        source = path if number.isdecimal() else place
        for index in indexes:
            for given in self._inputs(step, index):
                if given.verdict is None and not given.image:
                    continue  # the context: no step made it
                if given.image:
                    moved = self._image_moved(given)
                    if moved is not None:
                        return [moved]
                    continue
                found = self._from(step, index, other, groups)
                if found and not isinstance(found[0], e.InputDiffers):
                    return found
                origin = given.stage or given.label
                if groups:
                    return [e.FilesChanged(source=source, groups=groups, origin=origin)]
                return [e.FilesDiffer(source=source, origin=origin)]
        if groups:
            return [e.FilesChanged(source=source, groups=groups)]
        return [e.FilesDiffer(source=source)]

    def _image_moved(self, image: RecordedStep) -> e.BaseMoved | None:
        """A image whose digest differs from that of the earlier build."""
        if self.earlier is None:
            return None
        name = _image_name(image)
        for step in self.earlier.steps.values():
            if step.image and _image_name(step) == name and step.image != image.image:
                return e.BaseMoved(name=name, before=step.image, after=image.image)
        return None

    def _from(
        self,
        step: RecordedStep,
        index: int,
        other: RecordedStep | None,
        files: tuple[FileGroup, ...] = (),
        depth: int = 0,
    ) -> list[e.Cause]:
        """Why an input that steps made differs: they ran; or the cache knew them from elsewhere."""
        causes: list[e.Cause] = []
        inputs = self._inputs(step, index)
        causes += [
            e.Follows(step=given.number, files=files)
            for given in inputs
            if self.moved(given.number)
        ]
        if causes:
            return causes
        gone = self.alignment.removed.get(step.number, ()) if self.alignment else ()
        causes += [e.StepRemoved(text=each.text) for each in gone]
        if self.alignment is not None and depth < _DEEPEST:
            for given in inputs:
                causes += self._through(given, depth)
        if not causes:
            name = inputs[0].label if inputs else ""
            causes.append(e.InputDiffers(name=name))
        return causes

    def _through(self, given: RecordedStep, depth: int) -> list[e.Cause]:
        """What an input that was cached has to do with: its own inputs differ."""
        assert self.alignment is not None
        assert self.earlier is not None
        before = self.alignment.partners.get(given.number)
        if given.verdict is None:
            return []
        if before is None:
            return [e.StepAdded(text=given.text)] if given.number in self.alignment.added else []
        difference = self.comparer.compare(
            (self.earlier.record, before), (self.build.record, given)
        )
        if "parent" in difference.names and len(difference.names) == 1:
            return self._from(given, 0, before, (), depth + 1)
        return self.of(given, difference, before) if difference.names else []

    def _inputs(self, step: RecordedStep, index: int) -> list[RecordedStep]:
        numbers = step.inputs[index] if index < len(step.inputs) else ()
        return [self.build.steps[number] for number in numbers if number in self.build.steps]


def _image_name(image: RecordedStep | None) -> str:
    """`busybox:latest` of `FROM docker.io/library/busybox:latest@sha256:…`."""
    if image is None:
        return ""
    if image.label.startswith("context "):
        return image.label.removeprefix("context ")
    name = image.text.removeprefix("FROM ").partition("@")[0]
    return name.removeprefix("docker.io/").removeprefix("library/")
