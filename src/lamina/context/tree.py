"""A directory of the machine as a file tree, read in place and only where somebody looks."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import msgspec
from msgspec.structs import replace

from lamina.context.descent import Descent
from lamina.context.digesting import Digesting
from lamina.context.lookup import look_up
from lamina.context.statindex import Counters, Stamp, StatIndex, settled, stamp_of
from lamina.errors import HostError, UserError
from lamina.layer.contents import Contents
from lamina.layer.entry import Entry, Kind

_EMPTY = hashlib.sha256().digest()

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}


class IgnoreDecision(Protocol):
    """Whether a path is kept out, and the line of the ignore file that says so."""

    @property
    def ignored(self) -> bool: ...

    @property
    def line(self) -> int | None: ...


class IgnoreDirectory(Protocol):
    """Where a walk through the context stands; names are those of the directory's entries."""

    def decide(self, name: bytes, /) -> IgnoreDecision: ...

    def enter(self, name: bytes, /) -> IgnoreDirectory: ...

    @property
    def may_reinclude(self) -> bool:
        """Whether something below, although this directory is ignored, may be included again."""
        ...


class Ignore(Protocol):
    """What keeps files out of a context."""

    def walk(self) -> IgnoreDirectory: ...


class _Listing(msgspec.Struct, frozen=True):
    """What a directory holds, by name in sorted order, and the lines that hide other names."""

    entries: dict[bytes, Entry]
    hidden: dict[bytes, int]


class ContextTree:
    """Implements lamina.layer.tree.Tree for a directory. Close it, or use it in a `with` block.

    What was seen once stays as it was seen. As BuildKit transfers a context: everything belongs to
    0:0, permission bits are those on disk, a socket becomes an empty file, and files that are one
    file (hard links) stay one if copied together (`same_file`). Entries carry extended attributes
    only after `digests`, which completes files and directories.
    """

    def __init__(
        self,
        root: str,
        ignore: Ignore | None,
        index: StatIndex,
        *,
        keep_owners: bool = False,
        ignore_file: str = ".dockerignore",
        contents: Contents | None = None,
    ) -> None:
        """With `keep_owners` files belong to whom they belong on disk: for unpacked archives.

        `ignore_file` is the name of what `ignore` was read from, for messages. What small files
        hold is kept in `contents`.

        Raises UserError where `root` is no directory that can be read.
        """
        self._keep_owners = keep_owners
        self.root = root
        self.ignore_file = ignore_file
        self.counters = Counters()
        self._contents = contents or Contents(room=0)
        self._ignored: dict[bytes, IgnoreDirectory] = {}
        if ignore is not None:
            self._ignored[b""] = ignore.walk()
        self._index = index
        self._lock = threading.RLock()
        self._listings: dict[bytes, _Listing] = {}
        self._stamps: dict[bytes, Stamp] = {}
        self._linked: dict[bytes, tuple[int, int]] = {}
        try:
            self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            what = "is not a directory" if error.errno == errno.ENOTDIR else "cannot be read"
            raise UserError(f"the build context {root} {what}: {error.strerror}") from error
        self._descent = Descent(self._descriptor)
        status = os.fstat(self._descriptor)
        self._stamps[b""] = stamp_of(status)
        self._top = self._entry(b"", status, b"")

    def close(self) -> None:
        """Writes the index and lets go of the directory. Nothing may be asked afterwards."""
        self._index.save()
        self._descent.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> ContextTree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The port Tree

    def lookup(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """See Tree. Raises UserError for a circle of symlinks, HostError if unreadable."""
        return look_up(self._top, path, self._inside, follow=follow)

    def _inside(self, path: bytes) -> Mapping[bytes, Entry]:
        return self._list(path).entries

    def children(self, path: bytes) -> Iterable[Entry]:
        return self._inside(path).values()

    def walk(self, path: bytes) -> Iterator[Entry]:
        todo = list(reversed(self._list(path).entries.values()))
        while todo:
            entry = todo.pop()
            yield entry
            if entry.kind is Kind.DIRECTORY:
                todo += reversed(self._list(entry.path).entries.values())

    def host_path(self, path: bytes) -> bytes:
        """See Tree. To read a file use `descent`, which cannot be led out of the context."""
        root = os.fsencode(self.root)
        return os.path.join(root, path) if path else root

    def digests(self, entries: Iterable[Entry]) -> list[Entry]:
        """See Tree; completes the extended attributes of files and directories too.

        A file that changed since it was listed is given as it is now. Raises UserError for one that
        goes on changing, HostError for one that cannot be read.
        """
        work = Digesting(self._descriptor, self._stamps, self._index, self.counters, self._contents)
        return work.complete(entries)

    # What a context can tell besides

    def descent(self) -> Descent:
        """To open many files in the order of a walk, for one thread. Close it."""
        return Descent(self._descriptor)

    def is_unchanged(self, path: bytes, status: os.stat_result) -> bool:
        """Whether a file with this status is still as it was when its entry was made."""
        stamp = stamp_of(status)
        return self._stamps.get(path) == stamp and settled(stamp, time.time_ns())

    def same_file(self, path: bytes) -> tuple[int, int] | None:
        """What is equal for all names of a file that has several; None for one that has one."""
        return self._linked.get(path)

    def excluded_by(self, path: bytes) -> int | None:
        """The line of the ignore file that hides what is on disk at `path`, or above it."""
        here = b""
        for part in path.split(b"/"):
            entry = self.lookup(here)
            if entry is None or entry.kind is not Kind.DIRECTORY:
                return None
            listing = self._list(entry.path)
            if part in listing.hidden:
                return listing.hidden[part]
            here = b"/".join((entry.path, part)).lstrip(b"/")
        return None

    def hidden(self, path: bytes) -> Mapping[bytes, int]:
        """The names in a directory that the ignore file keeps out, and the lines that say so."""
        return self._list(path).hidden

    # Listing

    def _list(self, path: bytes) -> _Listing:
        listing = self._listings.get(path)
        if listing is not None:
            return listing
        with self._lock:
            listing = self._listings.get(path)
            if listing is None:
                listing = self._listings[path] = self._scan(path)
            return listing

    def _scan(self, path: bytes) -> _Listing:
        try:
            descriptor = self._descent.directory(path)
            with os.scandir(descriptor) as scan:
                found, links = _seen(scan, descriptor)
        except OSError as error:
            name = os.fsdecode(path) or "."
            raise HostError(f"cannot read {name} in the build context: {error.strerror}") from error
        found.sort(key=_by_name)
        self.counters.files_stat += len(found)
        return self._kept(path + b"/" if path else b"", found, links)

    def _kept(
        self,
        prefix: bytes,
        found: list[tuple[bytes, os.stat_result]],
        links: dict[bytes, bytes],
    ) -> _Listing:
        entries: dict[bytes, Entry] = {}
        hidden: dict[bytes, int] = {}
        ignored, stamps = self._ignored.get(prefix.rstrip(b"/")), self._stamps
        for name, status in found:
            path = prefix + name
            entry = self._entry(path, status, links.get(name, b""))
            stamps[path] = stamp_of(status)
            if ignored is not None:
                if entry.kind is Kind.DIRECTORY:
                    self._ignored[path] = ignored.enter(name)
                decision = ignored.decide(name)
                if decision.ignored and not self._holds_included(entry):
                    hidden[name] = decision.line or 0
                    continue
            entries[name] = entry
            if status.st_nlink > 1 and entry.kind is not Kind.DIRECTORY:
                self._linked[path] = (status.st_dev, status.st_ino)
        return _Listing(entries, hidden)

    def _holds_included(self, entry: Entry) -> bool:
        """Whether something below an ignored directory is included, which keeps the directory."""
        if entry.kind is not Kind.DIRECTORY or not self._ignored[entry.path].may_reinclude:
            return False
        return bool(self._list(entry.path).entries)

    def _entry(self, path: bytes, status: os.stat_result, link: bytes) -> Entry:
        entry = _entry(path, status, link)
        if self._keep_owners:
            return replace(entry, uid=status.st_uid, gid=status.st_gid)
        return entry


def _seen(
    scan: Iterable[os.DirEntry[str]], directory: int
) -> tuple[list[tuple[bytes, os.stat_result]], dict[bytes, bytes]]:
    """What is in a directory, and where its symlinks lead; without what goes away meanwhile."""
    found: list[tuple[bytes, os.stat_result]] = []
    links: dict[bytes, bytes] = {}
    for item in scan:
        name = os.fsencode(item.name)
        try:
            status = item.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links[name] = os.readlink(name, dir_fd=directory)
        except FileNotFoundError:
            continue
        found.append((name, status))
    return found, links


def _by_name(item: tuple[bytes, os.stat_result]) -> bytes:
    return item[0]


def _entry(path: bytes, status: os.stat_result, link: bytes) -> Entry:
    mode = status.st_mode
    # A socket becomes an empty file.
    kind = _KINDS.get(stat.S_IFMT(mode), Kind.FILE)
    if kind is Kind.FILE and stat.S_ISREG(mode):
        return Entry(
            path=path,
            kind=kind,
            mode=mode & 0o7777,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
        )
    device = (0, 0)
    if kind is Kind.CHARACTER or kind is Kind.BLOCK:
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return Entry(
        path=path,
        kind=kind,
        mode=mode & 0o7777,
        mtime_ns=status.st_mtime_ns,
        link=link,
        digest=_EMPTY if kind is Kind.FILE else b"",
        device=device,
    )
