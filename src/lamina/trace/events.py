"""The events of a build.

`rawjson` progress prints them one a line, so their form is a public format (version 1): every event
is an object whose `type` says what it is; times are seconds since the build's start; `step` numbers
the steps from 1 in the order in which they were first shown. Steps and events of one step arrive in
order.
"""

from __future__ import annotations

import msgspec

from lamina.cachekey.key import Part
from lamina.trace.verdict import Verdict

FORMAT_VERSION = 1


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    time: float


class BuildStarted(_Event, frozen=True, kw_only=True, tag="build-started"):
    """`started` is the wall-clock time in seconds since 1970; `version` is that of this format."""

    build: str
    started: float
    version: int = FORMAT_VERSION


class StepStarted(_Event, frozen=True, kw_only=True, tag="step-started"):
    """`name` as in BuildKit's progress (`[stage-0 3/5] RUN touch foo.txt`); `line` in `file`, 0:
    none.

    `inputs` are the steps whose results this one works on, a group an input; the first input is
    what it stands on. A group is empty where the input is.
    """

    step: int
    name: str
    file: str = ""
    line: int = 0
    inputs: tuple[tuple[int, ...], ...] = ()


class StepDecided(_Event, frozen=True, kw_only=True, tag="step-decided"):
    """Whether the step's result was in the cache, and why not. `parts` are those of its key."""

    step: int
    verdict: Verdict
    key: str = ""
    parts: tuple[Part, ...] = ()


class StepOutput(_Event, frozen=True, kw_only=True, tag="step-output"):
    """Some of what the step's process printed: `stream` 1 is standard output, 2 standard error."""

    step: int
    stream: int
    data: bytes


class StepProgress(_Event, frozen=True, kw_only=True, tag="step-progress"):
    """A part of a step that can be measured (a blob written). `total` 0: not known."""

    step: int
    what: str
    current: int
    total: int = 0
    unit: str = "bytes"
    done: bool = False


class StepNote(_Event, frozen=True, kw_only=True, tag="step-note"):
    """A line that says something about the step (`waiting for the lock of cache mount apt`)."""

    step: int
    text: str


class StepWaited(_Event, frozen=True, kw_only=True, tag="step-waited"):
    """Until now it has waited for what somebody else held (`cache mount apt`)."""

    step: int
    what: str
    seconds: float


class StepMounted(_Event, frozen=True, kw_only=True, tag="step-mounted"):
    """It has used a cache mount, in which there were so many bytes of files `before` and `after`.

    Where that would have taken too long to add up it is not `whole`: there were at least so many.
    """

    step: int
    id: str
    target: str
    sharing: str = "shared"
    before: int = 0
    after: int = 0
    whole: bool = True


class StepFinished(_Event, frozen=True, kw_only=True, tag="step-finished"):
    """`cached`: nothing was done. `same`: it ran, and made what it had made before.

    `error` is "" where all went well. `seconds` is the time that the step itself took.
    """

    step: int
    seconds: float
    cached: bool = False
    same: bool = False
    canceled: bool = False
    error: str = ""


class Warned(_Event, frozen=True, kw_only=True, tag="warning"):
    """Something that the user should know. `line` in `file`, 0: none."""

    message: str
    file: str = ""
    line: int = 0


class BuildFinished(_Event, frozen=True, kw_only=True, tag="build-finished"):
    """How many steps were cached and how many ran; `error` as text, "" for none."""

    seconds: float
    cached: int
    ran: int
    error: str = ""


Event = (
    BuildStarted
    | StepStarted
    | StepDecided
    | StepOutput
    | StepProgress
    | StepNote
    | StepWaited
    | StepMounted
    | StepFinished
    | Warned
    | BuildFinished
)
