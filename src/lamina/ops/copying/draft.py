"""A layer while it is being written: a model of its paths, over the tree that it is put upon.

    names ──resolve──▶ real paths ──model of the layer over the parent──▶ DiffWriter

Directories are made on disk when the first file is put into them, or at the end. What is there
below the layer is asked of the parent, and never where the layer itself made the directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from msgspec.structs import replace

from lamina.errors import HostError, UserError
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.scan import is_same_directory, link_names
from lamina.layer.tree import Tree
from lamina.layer.writing import DiffWriter, Note
from lamina.ops.copying.selection import shown

_MOST_LINKS: Final = 255
_ROOT: Final = Entry(path=b"", kind=Kind.DIRECTORY, mode=0o755)


class LayerDraft:
    """The diff directory `root` (empty at first) on top of `parent`. A context manager."""

    def __init__(self, root: bytes, parent: Tree) -> None:
        self.root = root
        self.parent = parent
        self.entries: dict[bytes, Entry] = {}
        self._writer = DiffWriter(root)
        self._made = {b""}
        self._new: set[bytes] = set()  # directories that hide all that the parent has below them
        self._groups: dict[bytes, int] = {}  # the names of files that have several, by any number

    def __enter__(self) -> LayerDraft:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on disk yet."""
        return len(self._made) == 1 and not any(
            entry.kind is not Kind.DIRECTORY for entry in self.entries.values()
        )

    # Looking

    def see(self, path: bytes) -> Entry | None:
        """What stands at a real path, in the layer or below it."""
        entry = self.entries.get(path)
        if entry is not None:
            return None if entry.kind is Kind.WHITEOUT else entry
        if path.rpartition(b"/")[0] in self._new and path:
            return None
        entry = self.parent.lookup(path, follow=False)
        # Another path: a directory of the layer took the place of a link in the parent.
        return entry if entry is not None and entry.path == path else None

    def resolve(self, path: bytes) -> bytes:
        """Where a path leads, links followed inside the tree; what does not exist is kept.

        Raises UserError for a circle of links.
        """
        todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
        current = b""
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                current = current.rpartition(b"/")[0]
                continue
            here = current + b"/" + part if current else part
            entry = self.see(here)
            if entry is None or entry.kind is not Kind.SYMLINK:
                current = here
                continue
            links += 1
            if links > _MOST_LINKS:
                raise UserError(f"{shown(path)}: too many levels of symbolic links")
            if entry.link.startswith(b"/"):
                current = b""
            target = entry.link.split(b"/")
            todo += [part for part in reversed(target) if part not in (b"", b".")]
        return current

    # Writing

    def make_directories(self, path: bytes, like: Entry) -> None:
        """Makes a directory and its parents where they are missing, all `like` the entry.

        Raises UserError where something else is in the way.
        """
        missing = []
        while path and (entry := self.see(path)) is None:
            missing.append(path)
            path = path.rpartition(b"/")[0]
        if path and entry is not None and entry.kind is not Kind.DIRECTORY:
            raise UserError(f"mkdir {shown(path)}: not a directory")
        for each in reversed(missing):
            self.put_directory(replace(like, path=each))

    def put_directory(self, entry: Entry) -> None:
        """A directory, new or with new attributes."""
        if entry.path not in self.entries and self.see(entry.path) is None:
            self._new.add(entry.path)
        self.entries[entry.path] = entry

    def put_file(self, entry: Entry, content: bytes) -> None:
        """A small FILE, in place of a file that was there."""
        parent = entry.path.rpartition(b"/")[0]
        if parent not in self._new or parent not in self._made or entry.path in self.entries:
            self._make_room(entry.path)
        self._writer.write_file(entry, content)
        self.entries[entry.path] = entry

    @contextmanager
    def new_file(self, entry: Entry) -> Iterator[int]:
        """A descriptor for the content of a FILE, in place of a file that was there."""
        self._make_room(entry.path)
        descriptor = self._writer.create(entry.path)
        try:
            yield descriptor
            self._writer.complete(descriptor, entry)
        finally:
            os.close(descriptor)
        self.entries[entry.path] = entry

    def put_other(self, entry: Entry) -> None:
        """A symlink, a device or a fifo."""
        self._make_room(entry.path)
        self._writer.make_other(entry)
        self.entries[entry.path] = entry

    def put_link(self, target: bytes, path: bytes) -> None:
        """Another name for a FILE of the layer."""
        self._make_room(path)
        self._writer.link(target, path)
        self._groups[path] = self._groups.setdefault(target, len(self._groups))
        self.entries[path] = replace(self.entries[target], path=path)

    def adopt(self, manifest: Manifest) -> None:
        """Takes over what somebody else wrote into the diff directory."""
        for entry in manifest.entries:
            path = entry.path
            if entry.kind is Kind.DIRECTORY:
                self._made.add(path)
                if entry.opaque or self.see(path) is None:
                    self._new.add(path)
            elif entry.kind is Kind.HARDLINK:
                self._groups[path] = self._groups.setdefault(entry.link, len(self._groups))
                entry = replace(self.entries[entry.link], path=path)  # noqa: PLW2901
            self.entries[path] = entry

    def merge(self, manifest: Manifest, directory: bytes) -> None:
        """Moves in what somebody else wrote into another directory of the same file system."""
        self._writer.flush()
        for entry in manifest.entries:
            path = entry.path
            there = self.entries.get(path)
            if there is not None and there.kind is not entry.kind:
                self._remove(path)
            elif there is not None and entry.opaque:
                self._clear(path)
            if entry.kind is Kind.DIRECTORY:
                self.put_directory(entry)
                self._on_disk(path)
                continue
            self._on_disk(path.rpartition(b"/")[0])
            os.rename(os.path.join(directory, path), os.path.join(self.root, path))
            self._groups.pop(path, None)
        self.adopt(manifest)

    def finish(self) -> tuple[Manifest, tuple[Note, ...]]:
        """Sets what had to wait; returns what is in the diff directory."""
        self._drop_unchanged()
        self._writer.flush()
        entries = self.entries
        for path in self._directories():
            self._on_disk(path)
        for path in reversed(self._directories()):  # also those above, which are here only now
            if path:
                entry = entries[path]
                self._writer.complete_directory(entry, opaque=entry.opaque)
        root = entries.get(b"") or self.parent.lookup(b"") or _ROOT
        self._writer.complete_directory(root, opaque=root.opaque and b"" in entries)
        paths = sorted(entries)
        ordered = [entries[path] for path in paths]
        link_names(ordered, self._linked(paths))
        return Manifest(tuple(ordered)), tuple(self._writer.notes)

    def _directories(self) -> list[bytes]:
        return sorted(path for path, each in self.entries.items() if each.kind is Kind.DIRECTORY)

    def _make_room(self, path: bytes) -> None:
        """Has the directory of a file on disk, and an earlier file at the path removed from it.

        Raises UserError if a directory stands there.
        """
        there = self.see(path)
        if there is not None and there.kind is Kind.DIRECTORY:
            raise UserError(f"cannot replace to directory {shown(path)} with file")
        self._on_disk(path.rpartition(b"/")[0])
        if path in self.entries:
            self._writer.remove(path, is_directory=False)
            self._groups.pop(path, None)

    def _remove(self, path: bytes) -> None:
        """Removes something that the layer has, with all that is below it."""
        self._clear(path)
        is_directory = self.entries.pop(path).kind is Kind.DIRECTORY
        if not is_directory or path in self._made:
            self._writer.remove(path, is_directory=is_directory)
        self._made.discard(path)
        self._groups.pop(path, None)

    def _clear(self, path: bytes) -> None:
        """Removes all that the layer has below a directory."""
        inside = path + b"/"
        for other in [other for other in self.entries if other.startswith(inside)]:
            if other in self.entries:
                self._remove(other)

    def _on_disk(self, path: bytes) -> None:
        if path in self._made:
            return
        self._on_disk(path.rpartition(b"/")[0])
        if path not in self.entries:
            there = self.see(path)
            assert there is not None
            self.entries[path] = replace(there, opaque=False)
        self._writer.make_directory(path)
        self._made.add(path)

    def _drop_unchanged(self) -> None:
        """Forgets directories in which nothing happened."""
        holding: set[bytes] = set()
        for path in sorted(self.entries, reverse=True):
            entry = self.entries[path]
            if entry.kind is Kind.DIRECTORY and path not in holding and not entry.opaque:
                below = _ROOT if not path else None
                if path not in self._new:
                    below = self.parent.lookup(path, follow=False) or below
                if below is not None and is_same_directory(entry, below):
                    if path in self._made and path:
                        self._writer.remove(path, is_directory=True)
                        self._made.discard(path)
                    del self.entries[path]
                    continue
            holding.add(path.rpartition(b"/")[0])

    def _linked(self, paths: list[bytes]) -> list[list[int]]:
        groups: dict[int, list[int]] = {}
        if self._groups:
            for index, path in enumerate(paths):
                number = self._groups.get(path)
                if number is not None:
                    groups.setdefault(number, []).append(index)
        return list(groups.values())


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Errors of the disk while a layer is written, as HostError."""
    try:
        yield
    except OSError as error:
        raise HostError(f"{what} failed: {error.strerror or error}") from error
