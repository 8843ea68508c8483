"""The cache mounts of a RUN: those there are, and those there should be."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from lamina.advisor.editing import flag_spans, replace_flag
from lamina.advisor.finding import Edit
from lamina.advisor.project import Dockerfile
from lamina.advisor.stagestate import Place, StageState
from lamina.dockerfile.instructions.mount import MountFlag, MountType, parse_mount
from lamina.errors import LaminaError
from lamina.graph.mounts import Sharing
from lamina.source import Span

_PLAIN = re.compile(r"/[\w./@+-]+")
_MOUNT = "--mount="
_OTHER_NAMES = {"target": ("target", "dst", "destination")}


class Mounted(msgspec.Struct, frozen=True, kw_only=True):
    """A `--mount` of a RUN. `target` is absolute, None where it is not known; one that cannot be
    read is taken for a cache mount without a known target.
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
    """The mounts of a RUN, in their order, with variables in place as far as they are known."""
    if place.run is None:
        return ()
    spans = flag_spans(dockerfile, place.run.node)
    return tuple(_mounted(span, place.state) for span in spans if span.text.startswith(_MOUNT))


def _mounted(span: Span, state: StageState) -> Mounted:
    try:
        option = span.text.removeprefix(_MOUNT)
        flag = parse_mount(option, lambda value: state.expand(value) or value)
    except LaminaError:
        return Mounted(span=span, flag=MountFlag(type=MountType.CACHE), target=None)
    known = flag.target and "$" not in flag.target
    return Mounted(span=span, flag=flag, target=state.path(flag.target) if known else None)


def owns(mount: Mounted, state: StageState) -> bool | None:
    """Whether the user of a stage can write to a cache mount; None where that is not known."""
    if state.root is None or mount.target is None:
        return None
    if state.root or (mount.flag.mode or 0) & 0o002:
        return True
    if state.account.uid is None:
        return False if not mount.flag.uid and not mount.flag.mode else None
    return (mount.flag.uid or 0) == state.account.uid


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


def with_option(mount: Mounted, name: str, value: str) -> Edit:
    """The flag with an option set, in the place where it is, or at the end."""
    names = _OTHER_NAMES.get(name, (name,))
    options = mount.option.split(",")
    for index, option in enumerate(options):
        key = option.partition("=")[0]
        if key.lower() in names:
            options[index] = f"{key}={value}"
            return replace_flag(mount.span, _MOUNT + ",".join(options))
    return replace_flag(mount.span, _MOUNT + ",".join((*options, f"{name}={value}")))
