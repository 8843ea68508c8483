"""Two builds side by side, as values: what `lamina history diff` says."""

from __future__ import annotations

import msgspec

from lamina.cachekey.difference import Change, FileGroup


class PairedStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step of one build. `outcome` is `cached`, `ran`, `same`, `failed` or `canceled`; `why` is
    the verdict in a few words.
    """

    where: str
    text: str
    outcome: str
    seconds: float
    why: str = ""
    key: str = ""


class StepPair(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The same step of both builds; one is None where the other build alone has it.

    `changes` are the parts of the key that differ, `files` those of its files.
    """

    before: PairedStep | None
    after: PairedStep | None
    changes: tuple[Change, ...] = ()
    files: tuple[FileGroup, ...] = ()


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """An argument of the build that differs: `build_args.VERSION`, `platforms` …"""

    name: str
    before: str | None
    after: str | None


class BuildPair(msgspec.Struct, frozen=True, kw_only=True):
    """`dockerfile` is the difference of the Dockerfiles as a unified diff."""

    before: str
    after: str
    seconds: tuple[float | None, float | None]
    arguments: tuple[Argument, ...]
    dockerfile: str
    steps: tuple[StepPair, ...]
