"""The port to read a file tree, wherever it lies: layers of a stage, or a context in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from lamina.layer.entry import Entry


class Tree(Protocol):
    """A read-only file tree. Paths are relative to its root, b"" is the root.

    Symlinks are resolved as if the tree were chrooted into; nothing outside is ever reached.
    Entries carry no digest; `digests` gives those of the files that are asked for, reading what is
    not yet known.
    """

    def lookup(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """What stands at `path`. The entry's `path` is the real one.

        Symlinks in its directories are followed, in its last part only with `follow`.
        """
        ...

    def children(self, path: bytes) -> Iterable[Entry]:
        """What a directory holds, sorted by name. `path` is a real path (as entries carry it)."""
        ...

    def walk(self, path: bytes) -> Iterator[Entry]:
        """Everything below the directory `path` (a real path), depth first, sorted."""
        ...

    def host_path(self, path: bytes) -> bytes:
        """Where the machine has the file with the real path `path`."""
        ...

    def digests(self, entries: Iterable[Entry]) -> list[Entry]:
        """The same entries, in the same order, with the digests of the FILEs among them."""
        ...
