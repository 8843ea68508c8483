"""The snapshotter for machines that refuse overlays: a copy of the whole tree for every step.

Files are copied by shared extents where the file system has them. Afterwards every path is
compared with what it was: the inode and its change time, which nobody can set, tell what was
touched; of what was touched the content decides. What changed is moved to a directory in overlay
form, so that layers are the same whoever made them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec.structs import replace

from lamina.fs.copyfile import copy_content, hash_content
from lamina.layer.entry import Entry, Kind
from lamina.layer.overlay import read_entry
from lamina.layer.stack import Stack
from lamina.layer.writing import DiffWriter
from lamina.oci.digest import Digest
from lamina.snapshot.snapshotter import PlainRoot, commit_diff, view_of
from lamina.snapshot.store import LayerStore, WorkDir, host_errors
from lamina.snapshot.view import View

if TYPE_CHECKING:
    from concurrent.futures import Executor

Stamp = tuple[int, int]
"""The inode of a file, and the time (ns) it was last changed in any way."""


class CopyingSnapshotter(msgspec.Struct, frozen=True):
    """Copies of the layers of `store`; `hash_pool` hashes large files."""

    store: LayerStore
    hash_pool: Executor | None = None

    def prepare(self, stack: Stack) -> CopyActive:
        view = view_of(self.store, stack)
        work = self.store.work()
        tree = f"{work.path}/tree"
        try:
            with host_errors(tree):
                os.mkdir(tree, 0o755)
                copy_tree(view, tree)
                before = {path: _stamp(status) for path, _, status in _walk(os.fsencode(tree))}
                _wait_for_next_tick(max((when for _, when in before.values()), default=0))
        except BaseException:
            work.close()
            raise
        return CopyActive(self, work, view, tree, before)


class CopyActive:
    """A copied tree."""

    def __init__(
        self,
        snapshotter: CopyingSnapshotter,
        work: WorkDir,
        view: View,
        tree: str,
        before: dict[bytes, Stamp],
    ) -> None:
        self._snapshotter = snapshotter
        self._work = work
        self._view = view
        self._tree = tree
        self._before = before

    @property
    def root(self) -> PlainRoot:
        return PlainRoot(path=self._tree)

    def commit(self) -> Digest:
        store, pool = self._snapshotter.store, self._snapshotter.hash_pool
        with host_errors(self._tree):
            _Comparison(self._tree, self._work.diff, self._view, self._before).move_changes()
        return commit_diff(store, self._work, self._view, hash_pool=pool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._work.close()


def copy_tree(view: View, target: str) -> None:
    """Copies the whole tree, with all that files have, into the empty directory `target`.

    Raises OSError.
    """
    writer = DiffWriter(os.fsencode(target))
    directories = [entry for entry in (view.entry(b""),) if entry is not None]
    try:
        for entry in view.walk(b""):
            match entry.kind:
                case Kind.DIRECTORY:
                    writer.make_directory(entry.path)
                    directories.append(entry)
                case Kind.FILE:
                    _copy_file(view, entry, writer)
                case Kind.HARDLINK:
                    writer.link(entry.link, entry.path)
                case _:
                    writer.make_other(entry)
        for entry in reversed(directories):
            writer.complete_directory(entry, opaque=False)
    finally:
        writer.close()


def _copy_file(view: View, entry: Entry, writer: DiffWriter) -> None:
    source = os.open(view.host_path(entry.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        target = writer.create(entry.path)
        try:
            copy_content(source, target)
            writer.complete(target, entry)
        finally:
            os.close(target)
    finally:
        os.close(source)


class _Comparison:
    def __init__(self, tree: str, diff: str, view: View, before: dict[bytes, Stamp]) -> None:
        self.tree = os.fsencode(tree)
        self.diff = os.fsencode(diff)
        self.view = view
        self.before = before
        self.after: dict[bytes, os.stat_result] = {}

    def move_changes(self) -> None:
        self.after = {path: status for path, _, status in _walk(self.tree)}
        changed = self.changed_files()
        deleted = self.deleted()
        directories = self.directories_for(changed | deleted)
        writer = DiffWriter(self.diff)
        try:
            for path in sorted(directories):
                if path:
                    writer.make_directory(path)
            for path in deleted:
                writer.make_whiteout(path)
            for path in changed:
                os.rename(self.tree + b"/" + path, self.diff + b"/" + path)
            for path in sorted(directories, reverse=True):
                writer.complete_directory(directories[path], opaque=False)
        finally:
            writer.close()

    def changed_files(self) -> set[bytes]:
        """What is no directory and new or different. Names of one file go together."""
        changed: set[bytes] = set()
        names: dict[int, list[bytes]] = {}
        for path, status in self.after.items():
            if stat.S_ISDIR(status.st_mode) or stat.S_ISSOCK(status.st_mode):
                continue
            if status.st_nlink > 1:
                names.setdefault(status.st_ino, []).append(path)
            if self.before.get(path) != _stamp(status) and not self.is_same(path, status):
                changed.add(path)
        for paths in names.values():
            if not changed.isdisjoint(paths):
                changed.update(paths)
        return changed

    def is_same(self, path: bytes, status: os.stat_result) -> bool:
        """Whether a file that was touched is what it was."""
        host = self.tree + b"/" + path
        old, new = self.view.entry(path), read_entry(path, host, status)
        if old is None or new is None or replace(old, digest=b"") != new:
            return False
        return new.kind is not Kind.FILE or self.view.digest(path) == _hash(host, status.st_size)

    def deleted(self) -> set[bytes]:
        """The highest paths that are gone, in directories that are not."""
        return {
            path
            for path in self.before
            if path not in self.after and self.is_directory(path.rpartition(b"/")[0])
        }

    def is_directory(self, path: bytes) -> bool:
        status = self.after.get(path)
        return not path or (status is not None and stat.S_ISDIR(status.st_mode))

    def directories_for(self, paths: set[bytes]) -> dict[bytes, Entry]:
        """Directories that are new or touched, and those that `paths` need."""
        needed = {b""}
        for path, status in self.after.items():
            if stat.S_ISDIR(status.st_mode) and self.before.get(path) != _stamp(status):
                needed.add(path)
        for path in paths | needed:
            while path := path.rpartition(b"/")[0]:
                needed.add(path)
        entries = {}
        for path in needed:
            host = self.tree + b"/" + path if path else self.tree
            entry = read_entry(path, host, os.lstat(host))
            assert entry is not None
            entries[path] = entry
        return entries


def _walk(root: bytes) -> list[tuple[bytes, bytes, os.stat_result]]:
    """Everything below a directory: path, file and status."""
    found = []
    todo = [(b"", root)]
    while todo:
        prefix, directory = todo.pop()
        with os.scandir(directory) as names:
            for name in names:
                status = name.stat(follow_symlinks=False)
                path = prefix + name.name
                found.append((path, name.path, status))
                if stat.S_ISDIR(status.st_mode):
                    todo.append((path + b"/", name.path))
    return found


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_ctime_ns


def _wait_for_next_tick(newest: int) -> None:
    """What changes from now on gets another change time: the kernel's clock for files ticks."""
    while time.clock_gettime_ns(time.CLOCK_REALTIME) - newest < 20_000_000:
        time.sleep(0.002)


def _hash(host: bytes, size: int) -> bytes:
    hasher = hashlib.sha256()
    descriptor = os.open(host, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        hash_content(descriptor, size, hasher)
    finally:
        os.close(descriptor)
    return hasher.digest()
