"""From a directory in overlay form to the manifest of a layer.

Most of the time goes into system calls for small files, which threads cannot share out under the
interpreter's lock: they are read at once by whoever walks. Large files go to the pool.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from lamina.errors import HostError
from lamina.fs.copyfile import hash_content
from lamina.layer.contents import Contents
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.overlay import read_entry, read_xattrs

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

LowerEntry = Callable[[bytes], Entry | None]
"""What the layers below have at a path (links are not followed), or None."""

_SMALL: Final = 256 * 1024
_ROOT: Final = Entry(path=b"", kind=Kind.DIRECTORY, mode=0o755)


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """What is in an upper directory.

    `dropped` are the paths that are there and not in the layer: directories in which nothing
    happened, and sockets; deepest first. `transparent` are the directories that are marked opaque
    with nothing below them to hide: overlayfs marks every new directory so.
    """

    manifest: Manifest
    dropped: tuple[bytes, ...]
    transparent: tuple[bytes, ...]


def read_diff(
    directory: str | bytes,
    *,
    lower: LowerEntry | None = None,
    hash_pool: Executor | None = None,
    contents: Contents | None = None,
) -> Diff:
    """Walks the upper directory of an overlay and hashes its files; small `contents` are kept.

    A directory that is in it only because its time changed is dropped. Sockets are, as no tar can
    hold them. The root is an entry where its mode, owner or attributes differ from the lower root
    (without `lower`: from 0755 root:root). Raises HostError where something cannot be read.
    """
    root = os.fsencode(directory).rstrip(b"/")
    scan = _Scan(root, lower, hash_pool, contents or Contents(room=0))
    try:
        scan.walk()
        scan.root()
        return scan.finish()
    except OSError as error:
        name = os.fsdecode(error.filename or root)
        raise HostError(f"{name} cannot be read: {error.strerror}") from error


class _Scan:
    def __init__(
        self, root: bytes, lower: LowerEntry | None, pool: Executor | None, contents: Contents
    ) -> None:
        self.base = root
        self.lower = lower
        self.pool = pool
        self.contents = contents
        self.entries: list[Entry] = []
        self.dropped: list[bytes] = []
        self.transparent: list[bytes] = []
        self.inodes: dict[tuple[int, int], list[int]] = {}
        self.hashing: list[tuple[int, Future[bytes]]] = []

    def walk(self) -> None:
        """Adds everything but the root. Directories come last, as they depend on what they hold."""
        found: set[bytes] = set()
        directories: list[tuple[bytes, os.stat_result]] = []
        todo = [(b"", self.base)]
        while todo:
            prefix, path = todo.pop()
            with os.scandir(path) as names:
                for name in names:
                    status = name.stat(follow_symlinks=False)
                    inner = prefix + name.name
                    if stat.S_ISDIR(status.st_mode):
                        directories.append((inner, status))
                        todo.append((inner + b"/", name.path))
                    elif self.leaf(inner, name.path, status):
                        found.add(prefix)
        for inner, status in reversed(directories):  # what is inside was listed later
            if self.directory(inner, status, holds_something=inner + b"/" in found):
                found.add(inner[: inner.rfind(b"/") + 1])

    def directory(self, inner: bytes, status: os.stat_result, *, holds_something: bool) -> bool:
        entry = read_entry(inner, self.base + b"/" + inner, status)
        assert entry is not None
        if (entry.opaque or not holds_something) and self.lower is not None:
            below = self.lower(inner)
            if entry.opaque and (below is None or below.kind is not Kind.DIRECTORY):
                self.transparent.append(inner)
                entry = replace(entry, opaque=False)
            elif not entry.opaque and below is not None and is_same_directory(entry, below):
                self.dropped.append(inner)
                return False
        self.entries.append(entry)
        return True

    def leaf(self, inner: bytes, path: bytes, status: os.stat_result) -> bool:
        if stat.S_ISREG(status.st_mode):
            self.file(inner, path, status)
            return True
        entry = read_entry(inner, path, status)
        if entry is None:
            self.dropped.append(inner)
            return False
        self.entries.append(entry)
        return True

    def file(self, inner: bytes, path: bytes, status: os.stat_result) -> None:
        digest = b""
        if status.st_nlink > 1:
            same = self.inodes.setdefault((status.st_dev, status.st_ino), [])
            same.append(len(self.entries))
            if len(same) > 1:
                self.entries.append(Entry(path=inner, kind=Kind.HARDLINK))
                return
        if status.st_size > _SMALL and self.pool is not None:
            xattrs, _ = read_xattrs(path)
            task = self.pool.submit(_hash_large, path, status.st_size)
            self.hashing.append((len(self.entries), task))
        else:
            digest, xattrs = _read_small(path, status.st_size, self.contents)
        self.entries.append(
            Entry(
                path=inner,
                kind=Kind.FILE,
                mode=status.st_mode & 0o7777,
                uid=status.st_uid,
                gid=status.st_gid,
                size=status.st_size,
                mtime_ns=status.st_mtime_ns,
                digest=digest,
                xattrs=xattrs,
            )
        )

    def root(self) -> None:
        entry = read_entry(b"", self.base, os.lstat(self.base))
        assert entry is not None
        below = (self.lower(b"") if self.lower else None) or _ROOT
        if entry.opaque or not is_same_directory(entry, below):
            self.entries.append(entry)

    def finish(self) -> Diff:
        entries = self.entries
        for index, task in self.hashing:
            entries[index] = replace(entries[index], digest=task.result())
        link_names(entries, self.inodes.values())
        entries.sort(key=_by_path)
        return Diff(
            manifest=Manifest(tuple(entries)),
            dropped=tuple(self.dropped),
            transparent=tuple(self.transparent),
        )


def is_same_directory(one: Entry, other: Entry) -> bool:
    """Whether two directories differ in nothing but their times."""
    return (
        other.kind is Kind.DIRECTORY
        and one.mode == other.mode
        and one.uid == other.uid
        and one.gid == other.gid
        and one.xattrs == other.xattrs
    )


def linked(first: Entry, path: bytes) -> Entry:
    """The HARDLINK at `path` that repeats the FILE `first`."""
    return Entry(
        path=path,
        kind=Kind.HARDLINK,
        mode=first.mode,
        uid=first.uid,
        gid=first.gid,
        mtime_ns=first.mtime_ns,
        link=first.path,
    )


def link_names(entries: list[Entry], inodes: Iterable[list[int]]) -> None:
    """Of the entries that are one inode, the first by path stays a file, the others become links.

    `inodes` gives the positions of those that are one; any of them may be the FILE.
    """
    for same in inodes:
        file = next(entries[index] for index in same if entries[index].kind is Kind.FILE)
        first = min(same, key=lambda index: entries[index].path)
        file = replace(file, path=entries[first].path)
        for index in same:
            entries[index] = file if index == first else linked(file, entries[index].path)


def _by_path(entry: Entry) -> bytes:
    return entry.path


def _read_small(
    path: bytes, size: int, contents: Contents
) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """The digest and the attributes of a file; large ones go on in pieces."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        xattrs, _ = read_xattrs(descriptor)
        if size > _SMALL:
            return _hash_large(path, size), xattrs
        content = os.read(descriptor, size + 1)
    finally:
        os.close(descriptor)
    if len(content) != size:
        raise HostError(f"{os.fsdecode(path)} changed while it was read")
    digest = hashlib.sha256(content).digest()
    contents.keep(digest, content)
    return digest, xattrs


def _hash_large(path: bytes, size: int) -> bytes:
    hasher = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if hash_content(descriptor, size, hasher) != size:
            raise HostError(f"{os.fsdecode(path)} changed while it was read")
    finally:
        os.close(descriptor)
    return hasher.digest()
