"""Why the steps of a build ran, as values: what `lamina explain` says (docs/explain.md).

A cause is what a user did, or what happened to them; a consequence (`Follows`) is a step that had
to run because another one gave another result.
"""

from __future__ import annotations

import msgspec

from lamina.cachekey.difference import FileGroup


class _Cause(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    pass


class FilesChanged(_Cause, frozen=True, kw_only=True, tag="files"):
    """Files that the step takes. `source` is the path as COPY names it, or where they are mounted;
    `origin` is the stage or image that they come from, "" for the build context.
    """

    source: str
    groups: tuple[FileGroup, ...]
    origin: str = ""


class FilesDiffer(_Cause, frozen=True, kw_only=True, tag="files-differ"):
    """As FilesChanged, where it is not known any more which files those were."""

    source: str
    origin: str = ""


class VariableChanged(_Cause, frozen=True, kw_only=True, tag="variable"):
    """A build argument (`argument`) or variable. None: it is not there.

    `line` in the Dockerfile is where it is declared, 0: nowhere (a base image has it).
    `used` says whether the step's own text names it; `instruction` that the text itself changes
    with it. `through` is the variable that an ENV makes of the argument, which changed with it.
    """

    name: str
    argument: bool
    before: str | None
    after: str | None
    line: int = 0
    used: bool = False
    instruction: bool = False
    through: str = ""


class BaseMoved(_Cause, frozen=True, kw_only=True, tag="base"):
    """The image that a stage stands on, or that files come from. Digests are "" where they are not
    known; `was` is the earlier name where that changed.
    """

    name: str
    before: str = ""
    after: str = ""
    was: str = ""


class InstructionChanged(_Cause, frozen=True, kw_only=True, tag="instruction"):
    """Texts of the instruction, as steps show them; `before` is "" where it is not known."""

    before: str
    after: str


class StepAdded(_Cause, frozen=True, kw_only=True, tag="step-added"):
    """The earlier build has no such step."""

    text: str


class StepRemoved(_Cause, frozen=True, kw_only=True, tag="step-removed"):
    """A step that stood above this one in the earlier build."""

    text: str


class SettingChanged(_Cause, frozen=True, kw_only=True, tag="setting"):
    """What else a key is made of: `directory`, `user`, `platform`, `network`, `heredoc:NAME` …;
    `instruction` is what an instruction of the same text means.
    """

    name: str
    before: str | None
    after: str | None


class MountChanged(_Cause, frozen=True, kw_only=True, tag="mount"):
    """What is mounted at a place, as `secret ID …`, `cache rw …`."""

    target: str
    before: str | None
    after: str | None


class Removed(_Cause, frozen=True, kw_only=True, tag="removed"):
    """It was in the cache once, and is not any more: pruned by `by` (""; not by Lamina) `at`, in
    seconds since 1970. `built` is when it was made, in build `build`. `source`: an external cache
    that should have it.
    """

    by: str = ""
    at: float | None = None
    built: float | None = None
    build: str = ""
    source: str = ""


class FailedBefore(_Cause, frozen=True, kw_only=True, tag="failed-before"):
    """The same step has failed, or was stopped, in an earlier build: there is nothing to reuse."""

    build: str
    at: float
    error: str


class ForcedBy(_Cause, frozen=True, kw_only=True, tag="forced"):
    """A flag demanded it."""

    flag: str


class NeverBuiltHere(_Cause, frozen=True, kw_only=True, tag="never-built"):
    """The first build of it in this store."""


class NotHeld(_Cause, frozen=True, kw_only=True, tag="not-held"):
    """Nothing of it is known here, nor in the external caches that were asked."""

    caches: tuple[str, ...]


class UnknownHere(_Cause, frozen=True, kw_only=True, tag="unknown-here"):
    """The other build has run it with the same inputs, but its result is not in this cache."""


class NotCacheable(_Cause, frozen=True, kw_only=True, tag="not-cacheable"):
    """It has no key: `why`."""

    why: str


class Follows(_Cause, frozen=True, kw_only=True, tag="follows"):
    """Another step gave another result. `files`: what of it this step takes."""

    step: int
    files: tuple[FileGroup, ...] = ()


class InputDiffers(_Cause, frozen=True, kw_only=True, tag="input-differs"):
    """Steps below gave another result than in the earlier build, and nothing more is known."""

    name: str


Cause = (
    FilesChanged
    | FilesDiffer
    | VariableChanged
    | BaseMoved
    | InstructionChanged
    | StepAdded
    | StepRemoved
    | SettingChanged
    | MountChanged
    | Removed
    | FailedBefore
    | ForcedBy
    | NeverBuiltHere
    | NotHeld
    | UnknownHere
    | NotCacheable
    | Follows
    | InputDiffers
)


class StepExplanation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step. `where` as progress shows it (`build 3/7`). `asked` are the external caches that
    did not hold it, `source` the one that did. `diff` is the text that changed in its files.
    """

    step: int
    where: str
    text: str
    file: str = ""
    line: int = 0
    ran: bool = False
    same: bool = False
    failed: bool = False
    seconds: float = 0.0
    causes: tuple[Cause, ...] = ()
    asked: tuple[str, ...] = ()
    source: str = ""
    diff: str = ""


class FirstCause(msgspec.Struct, frozen=True, kw_only=True):
    """A cause, and the steps that it concerns: the first one in which it appears, then others."""

    cause: Cause
    steps: tuple[int, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`against` is the build that it was compared with, None: each step with its nearest record.

    `first` are the causes from which all else follows, in the order of the steps. `step` is the one
    that was asked for, None: all of them; then `steps` are that one and those it follows from.
    `warnings` are what the build has warned of: a cache that could not be read is no step's fault.
    """

    build: str
    started: float
    context: str
    dockerfile: str
    outcome: str
    against: str | None
    step: int | None
    first: tuple[FirstCause, ...]
    steps: tuple[StepExplanation, ...]
    warnings: tuple[str, ...] = ()
