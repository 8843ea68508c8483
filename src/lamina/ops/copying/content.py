"""Bringing the content of a selected file into the layer, if it is still what was selected."""

from __future__ import annotations

import hashlib
import os
from typing import Final, Protocol, runtime_checkable

from lamina.errors import HostError, UserError
from lamina.fs.copyfile import copy_content
from lamina.layer.entry import Entry
from lamina.layer.tree import Tree
from lamina.ops.copying.selection import shown

_SMALL: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class SourceChanged(UserError):
    """A file is not any more what the cache key was made from. Selecting again may help."""


@runtime_checkable
class Changing(Protocol):
    """A tree that others may write to while it is read."""

    def open_file(self, path: bytes) -> int: ...

    def is_unchanged(self, path: bytes, status: os.stat_result) -> bool: ...


class Reader:
    """Reads the files of a tree, by the entries that were selected."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        # Asked once: the check of a protocol costs more than reading a small file.
        self._changing = tree if isinstance(tree, Changing) else None

    def open(self, path: bytes) -> int:
        """A descriptor of the file with this real path. Raises HostError."""
        try:
            if self._changing is not None:
                return self._changing.open_file(path)
            return os.open(self._tree.host_path(path), _READ)
        except OSError as error:
            raise HostError(f"{shown(path)} cannot be read: {error.strerror}") from error

    def copy(self, entry: Entry, target: int) -> None:
        """Writes the content of a file into the empty file `target`.

        Raises SourceChanged if it does not have the entry's digest any more, and OSError.
        """
        if entry.size == 0:
            return
        source = self.open(entry.path)
        try:
            if entry.size <= _SMALL:
                intact = self._copy_small(entry, source, target)
            elif self._changing is not None:
                intact = _copy_checked(entry, source, target, self._changing)
            else:
                intact = copy_content(source, target) == entry.size
        finally:
            os.close(source)
        if not intact:
            raise SourceChanged(
                f"{shown(entry.path)} changed while the build was copying it",
                hint="build again when nothing writes to it",
            )

    def _copy_small(self, entry: Entry, source: int, target: int) -> bool:
        data = os.read(source, entry.size + 1)
        if len(data) != entry.size:
            return False
        if self._changing is not None and hashlib.sha256(data).digest() != entry.digest:
            return False
        done = os.write(target, data)
        while done < len(data):
            done += os.write(target, memoryview(data)[done:])
        return True


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
