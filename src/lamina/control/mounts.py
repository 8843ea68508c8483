"""`lamina mounts`: the cache mounts of the store, what is in them, and taking them away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from lamina.cache.eviction import Limits
from lamina.cache.mountlist import MountCopy, MountUse, list_copies
from lamina.control.keeping.measuring import MOUNT, disk_use, measure_mount
from lamina.control.keeping.mount_limits import beyond
from lamina.control.keeping.space import drop_ballast
from lamina.control.privileges import become_root
from lamina.control.recording.removals import Removal, note_removal
from lamina.control.store import Store, open_store
from lamina.errors import UserError
from lamina.notation.suggest import nearest


class MountRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cache mount: its copies, their bytes on disk and files, and who used it last.

    `used` in seconds since 1970; `running`: a step uses it right now; `max_size` (bytes) and
    `keep_seconds` are what the settings say of it.
    """

    id: str
    platform: str
    copies: int
    size: int
    files: int
    used: float
    user: MountUse
    running: bool
    max_size: int | None = None
    keep_seconds: float | None = None


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a mount, or a folder (`files` in it, else 0). `path` is the one in the mount."""

    path: str
    size: int
    files: int = 0


class GoneMount(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that went, or would go; `why` is "" where it was asked for."""

    id: str
    platform: str
    number: int
    size: int
    why: str = ""


class MountInUse(UserError):
    """A step uses the mount."""


def list_mounts(root: str, environ: Mapping[str, str]) -> tuple[MountRow, ...]:
    """Every cache mount, the latest used first. Raises HostError."""
    become_root()
    store = open_store(root, environ)
    groups: dict[tuple[str, str], list[MountCopy]] = {}
    for copy in copies_of(store):
        groups.setdefault((copy.id, copy.platform), []).append(copy)
    rows = [_row(store, copies) for copies in groups.values()]
    return tuple(sorted(rows, key=lambda row: -row.used))


def _row(store: Store, copies: Sequence[MountCopy]) -> MountRow:
    last = max(copies, key=lambda copy: copy.used)
    limits = store.space.settings.mount(last.id)
    return MountRow(
        id=last.id,
        platform=last.platform,
        copies=len(copies),
        size=sum(disk_use(copy.data) for copy in copies),
        files=sum(sum(1 for _ in _files(copy.data)) for copy in copies),
        used=last.used,
        user=last.user,
        running=any(copy.is_in_use() for copy in copies),
        max_size=limits.max_size,
        keep_seconds=limits.keep_seconds,
    )


def mount_contents(
    root: str, name: str, platform: str = ""
) -> Iterator[tuple[MountCopy, tuple[Content, ...]]]:
    """What is in the copies of a mount, the largest first: its folders and files. Raises UserError
    for one that is not there.
    """
    become_root()
    for copy in find_copies(open_store(root), name, platform):
        folders: dict[str, list[int]] = {}
        found = []
        for path, size in _files(copy.data):
            found.append(Content(path=path, size=size))
            parent = os.path.dirname(path)
            while parent:
                total = folders.setdefault(parent, [0, 0])
                total[0] += size
                total[1] += 1
                parent = os.path.dirname(parent)
        found += [
            Content(path=f"{path}/", size=size, files=files)
            for path, (size, files) in folders.items()
        ]
        yield copy, tuple(sorted(found, key=lambda each: (-each.size, each.path)))


def remove_mounts(root: str, names: Sequence[str], platform: str = "") -> tuple[GoneMount, ...]:
    """Remove mounts by their ids, of one platform or of all. Raises UserError for one that is not
    there, before anything is removed, and MountInUse for one that a step uses.
    """
    become_root()
    drop_ballast(root)
    store = open_store(root)
    found = [copy for name in names for copy in find_copies(store, name, platform)]
    for copy in found:
        if copy.is_in_use():
            raise _in_use(copy)
    gone = []
    for copy in found:
        size = disk_use(copy.place)
        if not copy.remove():
            raise _in_use(copy)
        gone.append(_gone(store, copy, size, by="lamina mounts rm"))
    return tuple(gone)


def prune_mounts(
    root: str, limits: Limits, environ: Mapping[str, str], *, dry_run: bool
) -> tuple[GoneMount, ...]:
    """Remove the mounts that were not used for too long, then the longest unused until all others
    fit into `max_size`; without limits, those beyond the limits that settings give to each.
    """
    become_root()
    drop_ballast(root)
    store, now = open_store(root, environ), time.time()
    copies = [copy for copy in copies_of(store) if not copy.is_in_use()]
    sizes = {copy.name: measure_mount(copy, store.space.holdings) for copy in copies}
    total = sum(sizes.values())
    gone = []
    for copy in sorted(copies, key=lambda each: each.used):
        size = sizes[copy.name]
        why = beyond(copy, store.space.settings.mount(copy.id), size=size, now=now)
        why = why or beyond(copy, Limits(keep_seconds=limits.keep_seconds), size=size, now=now)
        if not why and limits.max_size is not None and total > limits.max_size:
            why = "it is the longest unused"
        if not why or (not dry_run and not copy.remove()):
            continue
        total -= size
        if dry_run:
            gone.append(_told(copy, size, why))
        else:
            gone.append(_gone(store, copy, size, by="lamina mounts prune", why=why))
    return tuple(gone)


def copies_of(store: Store) -> tuple[MountCopy, ...]:
    """All copies of all mounts."""
    return list_copies(os.path.join(store.root, "mounts"))


def find_copies(store: Store, name: str, platform: str = "") -> tuple[MountCopy, ...]:
    """The copies of a mount. Raises UserError, with the nearest id, where there is none."""
    copies = copies_of(store)
    found = tuple(c for c in copies if c.id == name and platform in ("", c.platform))
    if found:
        return found
    others = ", ".join(sorted({copy.platform for copy in copies if copy.id == name}))
    if others:
        raise UserError(f"cache mount {name} has no {platform}", hint=f"it has {others}")
    near = nearest(name, {copy.id for copy in copies})
    raise UserError(
        f"there is no cache mount {name}",
        hint=f"did you mean {near}?" if near else "see lamina mounts ls",
    )


def _in_use(copy: MountCopy) -> MountInUse:
    user = f": {copy.user.step}" if copy.user.step else ""
    return MountInUse(
        f"cache mount {copy.id} ({copy.platform}) is in use{user}",
        hint="wait until that step has ended",
    )


def _gone(store: Store, copy: MountCopy, size: int, *, by: str, why: str = "") -> GoneMount:
    store.space.holdings.remove(MOUNT, copy.name.encode())
    removal = Removal(by=by, at=time.time(), mounts=(f"{copy.id} ({copy.platform})",), why=why)
    note_removal(store.root, removal)
    return _told(copy, size, why)


def _told(copy: MountCopy, size: int, why: str) -> GoneMount:
    return GoneMount(id=copy.id, platform=copy.platform, number=copy.number, size=size, why=why)


def _files(folder: str) -> Iterator[tuple[str, int]]:
    """The files below a folder, by their paths in it, with their bytes. Follows no link."""
    todo = [folder]
    while todo:
        try:
            entries = os.scandir(todo.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                    continue
                try:
                    size = entry.stat(follow_symlinks=False).st_size
                except OSError:
                    continue
                yield entry.path[len(folder) + 1 :], size
