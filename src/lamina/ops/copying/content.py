"""Bringing the content of a selected file into the layer, if it is still what was selected."""

from __future__ import annotations

import hashlib
import os
from typing import Final, Protocol, runtime_checkable

from lamina.errors import HostError, UserError
from lamina.fs.copyfile import copy_content
from lamina.layer.contents import Contents
from lamina.layer.entry import Entry
from lamina.layer.tree import Tree
from lamina.ops.copying.selection import shown

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class SourceChanged(UserError):
    """A file is not any more what the cache key was made from. Selecting again may help."""


class Directories(Protocol):
    """Opens the directories of a tree, best in the order of a walk; none is led to by a link."""

    def directory(self, path: bytes, /) -> int: ...

    def close(self) -> None: ...


@runtime_checkable
class Changing(Protocol):
    """A tree that others may write to while it is read."""

    def descent(self) -> Directories: ...

    def is_unchanged(self, path: bytes, status: os.stat_result) -> bool: ...


class Reader:
    """Reads the files of a tree, by the entries that were selected. A context manager.

    `contents` that were read a moment ago are not read again.
    """

    def __init__(self, tree: Tree, contents: Contents) -> None:
        self._tree = tree
        self._contents = contents
        # Asked once: the check of a protocol costs more than reading a small file.
        self._changing = tree if isinstance(tree, Changing) else None
        self._directories = self._changing.descent() if self._changing is not None else None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._directories is not None:
            self._directories.close()

    def open(self, path: bytes) -> int:
        """A descriptor of the file with this real path. Raises HostError."""
        try:
            if self._directories is not None:
                parent, _, name = path.rpartition(b"/")
                return os.open(name, _READ, dir_fd=self._directories.directory(parent))
            return os.open(self._tree.host_path(path), _READ)
        except OSError as error:
            raise HostError(f"{shown(path)} cannot be read: {error.strerror}") from error

    def content(self, entry: Entry) -> bytes:
        """What is in a small file.

        Raises SourceChanged if it does not have the entry's digest any more, and OSError.
        """
        if entry.size == 0:
            return b""
        kept = self._contents.get(entry.digest)
        if kept is not None:
            return kept
        source = self.open(entry.path)
        try:
            data = os.read(source, entry.size + 1)
        finally:
            os.close(source)
        if len(data) != entry.size:
            raise _changed(entry)
        if self._changing is not None:
            if hashlib.sha256(data).digest() != entry.digest:
                raise _changed(entry)
            self._contents.keep(entry.digest, data)
        return data

    def copy(self, entry: Entry, target: int) -> None:
        """Writes the content of a file that is not small into the empty file `target`.

        Raises SourceChanged if it does not have the entry's digest any more, and OSError.
        """
        source = self.open(entry.path)
        try:
            if self._changing is not None:
                intact = _copy_checked(entry, source, target, self._changing)
            else:
                intact = copy_content(source, target) == entry.size
        finally:
            os.close(source)
        if not intact:
            raise _changed(entry)


def _changed(entry: Entry) -> SourceChanged:
    return SourceChanged(
        f"{shown(entry.path)} changed while the build was copying it",
        hint="build again when nothing writes to it",
    )


def _copy_checked(entry: Entry, source: int, target: int, tree: Changing) -> bool:
    """Not hashed again if `stat` proves that the file is still the one that was hashed."""
    if tree.is_unchanged(entry.path, os.fstat(source)):
        size = copy_content(source, target)
        if tree.is_unchanged(entry.path, os.fstat(source)):
            return size == entry.size
        os.ftruncate(target, 0)
    hasher = hashlib.sha256()
    size = copy_content(source, target, hasher=hasher)
    return size == entry.size and hasher.digest() == entry.digest
