"""The report of a build, as values: what `lamina report` shows, and prints as JSON.

Sizes in bytes, times in seconds; `started` fields since 1970, all others since the build's start.
Paths that are not UTF-8 are spelled out. The form is public (docs/report.md).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from lamina.trace.explanation import Explanation
from lamina.trace.record import Output
from lamina.trace.timeline import Outcome, Span

FORMAT_VERSION = 1


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Sized(_Value, frozen=True, kw_only=True):
    """A file or folder with its bytes."""

    path: str
    size: int


class WastedFile(_Value, frozen=True, kw_only=True):
    """A file that a later layer, made by `by` (a step's name), has overwritten or removed."""

    path: str
    size: int
    how: Literal["overwritten", "removed"]
    by: str


class ReportedLayer(_Value, frozen=True, kw_only=True):
    """A layer of an image. `step` made it; None: it came with the base image `name`.

    `known` is false where its files are not in the store; then `size` is that of its blob, or 0.
    `wasted` are bytes of it that later layers hide; `waste` the largest files among them.
    """

    id: str
    step: int | None
    name: str
    known: bool
    size: int
    added: int = 0
    overwrote: int = 0
    removed: int = 0
    largest: tuple[Sized, ...] = ()
    wasted: int = 0
    waste: tuple[WastedFile, ...] = ()


class ReportedImage(_Value, frozen=True, kw_only=True):
    """What one platform's steps have piled up, lowest layer first."""

    name: str
    layers: tuple[ReportedLayer, ...]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)

    @property
    def wasted(self) -> int:
        return sum(layer.wasted for layer in self.layers)


class PartChange(_Value, frozen=True, kw_only=True):
    """A part of a step's key that is not what it was in the nearest earlier run."""

    part: str
    before: str | None
    after: str | None


class LogTail(_Value, frozen=True, kw_only=True):
    """The end of what a step printed, as it printed it; `size` of all of it."""

    data: bytes
    size: int
    whole: bool


class ReportedStep(_Value, frozen=True, kw_only=True):
    """A step. `where` as progress shows it (`build 3/7`); `why` is the verdict in a few words.

    `saved` is what a cached step took when it ran; None: not known. `changes` are of the key,
    `left_out` of them not listed. `downloaded` is None for what downloads nothing.
    """

    step: int
    where: str
    text: str
    file: str
    line: int
    internal: bool
    outcome: Outcome
    start: float
    end: float
    spans: tuple[Span, ...]
    critical: bool
    inputs: tuple[int, ...] = ()
    why: str = ""
    key: str = ""
    error: str = ""
    notes: tuple[str, ...] = ()
    saved: float | None = None
    changes: tuple[PartChange, ...] = ()
    left_out: int = 0
    downloaded: int | None = None
    size: int | None = None
    log: LogTail | None = None

    @property
    def seconds(self) -> float:
        return self.end - self.start


class MountUse(_Value, frozen=True, kw_only=True):
    """A step's use of a cache mount: the bytes in it when the step began, and when it ended."""

    step: int
    target: str
    before: int
    after: int
    whole: bool


class ReportedMount(_Value, frozen=True, kw_only=True):
    """A cache mount that steps of this build used."""

    id: str
    sharing: str
    uses: tuple[MountUse, ...]

    @property
    def held(self) -> int:
        """What did not have to be had again, at most."""
        return self.uses[0].before

    @property
    def holds(self) -> int:
        return self.uses[-1].after


class Suggestion(_Value, frozen=True, kw_only=True):
    """A line that the ignore file could have, and what it would keep out."""

    pattern: str
    count: int
    size: int
    why: str


class ReportedContext(_Value, frozen=True, kw_only=True):
    """The build context as it is when the report is made. `unknown` says why it is not known.

    `unused` counts files that no COPY or ADD takes.
    """

    place: str
    unknown: str = ""
    files: int = 0
    size: int = 0
    unused: int = 0
    unused_size: int = 0
    largest: tuple[Sized, ...] = ()
    folders: tuple[Sized, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()


class TrendPoint(_Value, frozen=True, kw_only=True):
    """A build of the same Dockerfile. `seconds` is None for one that did not end."""

    build: str
    started: float
    outcome: str
    seconds: float | None
    cached: int
    ran: int

    @property
    def hit_rate(self) -> float | None:
        """From 0 to 1; None where no step was looked up."""
        return self.cached / (self.cached + self.ran) if self.cached + self.ran else None


class Report(_Value, frozen=True, kw_only=True):
    """`saved` are the seconds that the cached steps took when they ran; of `saved_unknown` steps
    that is not known. `critical` are the steps that decided the build's time, `trend` the last
    builds of the same Dockerfile with this one as the last.
    """

    version: int
    lamina: str
    build: str
    started: float
    made: float
    outcome: str
    error: str
    seconds: float
    cached: int
    ran: int
    saved: float
    saved_unknown: int
    title: str
    context_place: str
    dockerfile: str
    target: str
    platforms: tuple[str, ...]
    tags: tuple[str, ...]
    outputs: tuple[Output, ...]
    warnings: tuple[str, ...]
    explanation: Explanation
    steps: tuple[ReportedStep, ...]
    critical: tuple[int, ...]
    critical_seconds: float
    images: tuple[ReportedImage, ...]
    mounts: tuple[ReportedMount, ...]
    context: ReportedContext
    trend: tuple[TrendPoint, ...]
    imported: bool = False
