"""The cache mounts of a RUN: those there are, and those there should be."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from lamina.advisor.editing import flag_spans
from lamina.advisor.project import Dockerfile
from lamina.advisor.runs import read_mount
from lamina.advisor.stagestate import Place, StageState
from lamina.dockerfile.instructions.mount import MountFlag, MountType
from lamina.graph.mounts import Sharing
from lamina.source import Span

_PLAIN = re.compile(r"/[\w./@+-]+")
_MOUNT = "--mount="


class Mounted(msgspec.Struct, frozen=True, kw_only=True):
    """A `--mount` of a RUN. `target` is absolute, None where it is not known; values of `flag`
    are as they are written.
    """

    span: Span
    flag: MountFlag
    target: str | None

    @property
    def is_cache(self) -> bool:
        return self.flag.type is MountType.CACHE

    @property
    def option(self) -> str:
        """What is written behind `--mount=`."""
        return self.span.text.removeprefix(_MOUNT)


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """A cache mount that should be there, with the owner that its user needs."""

    folder: str
    also: tuple[str, ...] = ()
    locked: bool = False
    extra: bool = False
    uid: int | None = None
    gid: int | None = None

    def flag(self) -> str | None:
        """The flag that asks for it; None where the folder cannot be written in one."""
        if _PLAIN.fullmatch(self.folder) is None:
            return None
        options = ["type=cache", f"target={self.folder}"]
        options += [f"sharing={Sharing.LOCKED}"] if self.locked else []
        options += [f"uid={self.uid}"] if self.uid else []
        options += [f"gid={self.gid}"] if self.gid else []
        return _MOUNT + ",".join(options)


def mounts_of(dockerfile: Dockerfile, place: Place) -> tuple[Mounted, ...]:
    """The mounts of a RUN, in their order."""
    if place.run is None:
        return ()
    found = []
    for span in flag_spans(dockerfile, place.run.node):
        if span.text.startswith(_MOUNT):
            flag = read_mount(span.text.removeprefix(_MOUNT))
            if flag is not None:
                target = place.state.expand(flag.target)
                absolute = place.state.path(target) if target is not None else None
                found.append(Mounted(span=span, flag=flag, target=absolute))
    return tuple(found)


def covered(need: Need, mounts: Iterable[Mounted]) -> bool:
    """Whether something is mounted there, above or below it; what is not known counts."""
    return any(
        mount.target is None or related(folder, mount.target)
        for mount in mounts
        if mount.flag.type in (MountType.CACHE, MountType.TMPFS) or not mount.flag.read_only
        for folder in (need.folder, *need.also)
    )


def related(one: str, other: str) -> bool:
    """Whether one path is the other, or lies in it."""
    return within(one, other) or within(other, one)


def within(path: str, folder: str) -> bool:
    """Whether a path is a folder, or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def owner(state: StageState) -> tuple[int | None, int | None] | None:
    """The uid and gid that a mount needs for the user to write; None where that is not known."""
    if state.root:
        return None, None
    account = state.account
    return None if account.uid is None else (account.uid, account.gid)
