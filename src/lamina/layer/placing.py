"""Where the members of a tar go: the model of a directory that is being unpacked to.

    name in the tar ──components──▶ real path ──replace what is there──▶ DiffWriter

The model knows every path that was made, so no name is ever looked up on disk. A symlink in a name
is followed as if chrooted; one that leads above the root, a `..`, or a file where a directory is
needed is an error.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from msgspec.structs import replace

from lamina.errors import HostError
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.filling import SMALL, write_pieces
from lamina.layer.pax import Map
from lamina.layer.reader import MalformedTar, TarReader
from lamina.layer.scan import LowerEntry, link_names
from lamina.layer.writing import DiffWriter, Note

_MOST_LINKS: Final = 255
_BAD_NAME: Final = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EFBIG)


class DiffTree:
    """The diff directory and what was put into it so far. `lower` tells what is below it.

    `base` is the root of all names. As a context manager it turns errors of the disk into
    HostError.
    """

    def __init__(
        self,
        root: bytes,
        *,
        malformed: Callable[[str], MalformedTar],
        base: bytes = b"",
        lower: LowerEntry | None = None,
        owner: tuple[int, int] | None = None,
    ) -> None:
        self._writer = DiffWriter(root)
        self._malformed = malformed
        self.base = base
        self._lower = lower
        self._owner = owner
        self._entries: dict[bytes, Entry] = {}
        self._inodes: dict[bytes, int] = {}  # which files are one, by any number
        self._opaque: set[bytes] = set()
        self._hidden: set[bytes] = set()  # deletions of the tar
        self._cut: set[bytes] = set()  # directories below that something stands on
        self._resolved: dict[bytes, bytes] = {}
        self._next_inode = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        if not isinstance(value, OSError):
            return
        if value.errno in _BAD_NAME:
            raise self._malformed(f"a file cannot be made: {value.strerror}") from value
        raise HostError(f"unpacking failed: {value.strerror or value}") from value

    def start(self) -> None:
        """Makes the base and what is above it, where that is not below already."""
        if self.base:
            self._need(self.base, self._implied(self.base, 0, owner=self._owner or (0, 0)))

    def place(self, name: bytes, mtime_ns: int) -> bytes:
        """The real path of what the tar calls `name`; its directories are there afterwards."""
        parent, _, last = name.rstrip(b"/").rpartition(b"/")
        if last in (b"", b".", b".."):
            parts = self._parts(name)
            if not parts:
                return self.base
            parent, last = b"/".join(parts[:-1]), parts[-1]
        directory = self._resolved.get(parent)
        if directory is None:
            directory = self._follow(self._parts(parent), name)
            self._need(directory, self._implied(directory, mtime_ns))
            self._resolved[parent] = directory
        return directory + b"/" + last if directory else last

    def add_file(self, entry: Entry, reader: TarReader, sparse: Map | None) -> None:
        self._make_room(entry.path, for_directory=False)
        entry = self._owned(entry)
        if sparse is None and entry.size <= SMALL:
            content = reader.whole()
            entry = replace(entry, digest=hashlib.sha256(content).digest())
            self._writer.write_file(entry, content)
        else:
            entry = replace(entry, digest=self._fill(entry, reader, sparse))
        self._entries[entry.path] = entry

    def _fill(self, entry: Entry, reader: TarReader, sparse: Map | None) -> bytes:
        """Makes a file that is large or has holes; returns its digest."""
        descriptor = self._writer.create(entry.path)
        try:
            pieces = sparse if sparse is not None else ((0, entry.size),)
            digest = write_pieces(descriptor, reader, pieces, entry.size)
            self._writer.complete(descriptor, entry)
        finally:
            os.close(descriptor)
        return digest

    def add_directory(self, entry: Entry) -> None:
        path = entry.path
        entry = self._owned(entry)
        if self._make_room(path, for_directory=True):
            self._writer.make_directory(path)
        self._entries[path] = entry

    def add_other(self, entry: Entry) -> None:
        """A symlink, a device or a fifo."""
        self._make_room(entry.path, for_directory=False)
        entry = self._owned(entry)
        self._writer.make_other(entry)
        self._entries[entry.path] = entry

    def add_link(self, path: bytes, name: bytes) -> None:
        """A hard link to what the tar calls `name`."""
        parts = self._parts(name)
        directory = self._follow(parts[:-1], name) if parts else b""
        target = b"/".join(filter(None, (directory, *parts[-1:])))
        entry = self._entries.get(target)
        if entry is None or entry.kind is Kind.DIRECTORY or target == path:
            raise self._malformed(f"{shown(path)} is a hard link to {shown(name)}, no file in it")
        if entry.kind is not Kind.FILE:
            self.add_other(replace(entry, path=path))
            return
        self._make_room(path, for_directory=False)
        if target not in self._entries:
            raise self._malformed(f"{shown(path)} is a hard link to {shown(name)}, which is in it")
        self._writer.link(target, path)
        self._next_inode += 1
        self._inodes[path] = self._inodes.setdefault(target, self._next_inode)
        self._entries[path] = replace(entry, path=path)

    def hide(self, path: bytes) -> None:
        """Deletes what lower layers have at `path`."""
        self._hidden.add(path)

    def hide_below(self, path: bytes) -> None:
        """Deletes what lower layers have below the directory `path`."""
        self._opaque.add(path)

    def finish(self) -> tuple[Manifest, tuple[Note, ...]]:
        """Sets what had to wait; returns what is in the directory."""
        self._writer.flush()
        self._finish_deletions()
        entries = self._entries
        for path in sorted(entries, reverse=True):
            entry = entries[path]
            if entry.kind is Kind.DIRECTORY:
                opaque = path in self._opaque
                self._writer.complete_directory(entry, opaque=opaque)
                if opaque:
                    entries[path] = replace(entry, opaque=True)
        paths = sorted(entries)
        ordered = [entries[path] for path in paths]
        link_names(ordered, self._groups(paths))
        return Manifest(tuple(ordered)), tuple(self._writer.notes)

    def _groups(self, paths: list[bytes]) -> list[list[int]]:
        groups: dict[int, list[int]] = {}
        if self._inodes:
            for index, path in enumerate(paths):
                inode = self._inodes.get(path)
                if inode is not None:
                    groups.setdefault(inode, []).append(index)
        return list(groups.values())

    def _finish_deletions(self) -> None:
        if b"" in self._opaque and b"" not in self._entries:
            self._entries[b""] = self._implied(b"", 0)
        for path in sorted(self._hidden):
            entry = self._entries.get(path)
            if entry is not None and entry.kind is Kind.DIRECTORY:
                self._opaque.add(path)
            elif entry is None and self._is_directory(path.rpartition(b"/")[0]):
                self._writer.make_whiteout(path)
                self._entries[path] = Entry(path=path, kind=Kind.WHITEOUT)

    def _is_directory(self, path: bytes) -> bool:
        entry = self._entries.get(path)
        return not path or (entry is not None and entry.kind is Kind.DIRECTORY)

    # Names.

    def _parts(self, name: bytes) -> list[bytes]:
        """The components of a name; a leading slash means the root."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise self._malformed(f"the name {shown(name)} has .. in it")
        return parts

    def _follow(self, parts: list[bytes], name: bytes) -> bytes:
        """The real path of a directory. What does not exist is kept as it is."""
        todo = parts[::-1]
        current = self.base
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                if current == self.base:
                    raise self._malformed(f"{shown(name)} goes through a symlink that leaves it")
                current = current.rpartition(b"/")[0]
                continue
            path = current + b"/" + part if current else part
            entry = self._see(path)
            if entry is None or entry.kind is Kind.DIRECTORY:
                current = path
            elif entry.kind is Kind.SYMLINK:
                links += 1
                if links > _MOST_LINKS:
                    raise self._malformed(f"{shown(name)} goes through a circle of symlinks")
                if entry.link.startswith(b"/"):
                    current = self.base
                target = entry.link.split(b"/")
                todo += [part for part in reversed(target) if part not in (b"", b".")]
            else:
                raise self._malformed(f"{shown(name)} is below {shown(path)}, no directory")
        return current

    def _see(self, path: bytes) -> Entry | None:
        """What stands at a real path, in the diff or below it."""
        entry = self._entries.get(path)
        if entry is not None or self._lower is None:
            return entry
        if self._cut:
            above = path
            while above:
                if above in self._cut:
                    return None
                above = above.rpartition(b"/")[0]
        return self._lower(path)

    # Making things.

    def _need(self, path: bytes, implied: Entry) -> None:
        """Makes a directory and those above it, as they are below, or else as `implied`."""
        if not path or path in self._entries:
            return
        self._need(path.rpartition(b"/")[0], implied)
        below = self._see(path)
        if below is not None and below.kind is Kind.DIRECTORY:
            entry = replace(below, path=path, opaque=False)
        else:
            entry = replace(implied, path=path)
        self._writer.make_directory(path)
        self._entries[path] = entry

    def _implied(self, path: bytes, mtime_ns: int, *, owner: tuple[int, int] = (0, 0)) -> Entry:
        """A directory that the tar needs and does not have."""
        return Entry(
            path=path,
            kind=Kind.DIRECTORY,
            mode=0o755,
            uid=owner[0],
            gid=owner[1],
            mtime_ns=mtime_ns,
        )

    def _make_room(self, path: bytes, *, for_directory: bool) -> bool:
        """Removes what is at `path`; false if there is a directory that can stay."""
        if not path:
            return False
        old = self._entries.get(path)
        if old is None:
            if self._lower is not None and not for_directory:
                below = self._see(path)
                if below is not None and below.kind is Kind.DIRECTORY:
                    self._cut.add(path)
            if for_directory and path in self._cut:
                self._opaque.add(path)
            return True
        is_directory = old.kind is Kind.DIRECTORY
        if is_directory and for_directory:
            return False
        self._writer.remove(path, is_directory=is_directory)
        self._forget(path, is_directory=is_directory)
        # Whatever lower layers have here is gone: it was replaced once already.
        self._cut.add(path)
        if for_directory:
            self._opaque.add(path)
        return True

    def _forget(self, path: bytes, *, is_directory: bool) -> None:
        self._resolved.clear()
        inside = path + b"/"
        gone = [path]
        if is_directory:
            gone += [other for other in self._entries if other.startswith(inside)]
        for other in gone:
            self._entries.pop(other, None)
            self._inodes.pop(other, None)
            self._opaque.discard(other)

    def _owned(self, entry: Entry) -> Entry:
        if self._owner is None:
            return entry
        return replace(entry, uid=self._owner[0], gid=self._owner[1])


def shown(name: bytes) -> str:
    """A name for people, with everything that is no text escaped."""
    return repr(os.fsdecode(name[:200]))
