"""How much the store holds: a table of its layers, blobs and cache mounts, with their sizes.

Workload: a step that runs adds one row or two; before a step runs the sum is asked for. A cached
build does neither. What is gone stays in the table, so that it is known how much room it will need
again. The table follows what is written; a walk of the store (`replace`) puts it right, once in its
life and whenever somebody prunes. Rejected: walking the store before every step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from lamina.cache.index import Index

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS holdings (
  kind TEXT NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL, seen REAL NOT NULL,
  here INTEGER NOT NULL, PRIMARY KEY (kind, name)
) WITHOUT ROWID
"""
_WALKED: Final = "walked"  # the kind of the one row that says that the table is whole
_FORGOTTEN: Final = 60 * 86400.0  # seconds after which nobody asks how large something was


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the store holds. `size` in bytes on disk, `seen` in seconds since 1970."""

    size: int
    seen: float


class Holdings:
    """The table in `index`. Safe for several threads and processes. Raises HostError."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._ready = False
        self._guard = threading.Lock()

    def is_whole(self) -> bool:
        """Whether everything in the store is in the table."""
        self._prepare()
        return bool(self._index.rows("SELECT 1 FROM holdings WHERE kind = ?", (_WALKED,)))

    def total(self) -> int:
        """The bytes of all that is here."""
        self._prepare()
        ((total,),) = self._index.rows("SELECT SUM(size) FROM holdings WHERE here = 1")
        return total or 0

    def size(self, kind: str, name: bytes) -> int | None:
        """The bytes of something that is here, or was."""
        self._prepare()
        rows = self._index.rows(
            "SELECT size FROM holdings WHERE kind = ? AND name = ?", (kind, name)
        )
        return rows[0][0] if rows else None

    def all(self, kind: str) -> Mapping[bytes, Held]:
        """What is here of a kind, by name."""
        self._prepare()
        statement = "SELECT name, size, seen FROM holdings WHERE kind = ? AND here = 1"
        rows = self._index.rows(statement, (kind,))
        return {bytes(name): Held(size=size, seen=seen) for name, size, seen in rows}

    def seen(self, kind: str) -> float:
        """When something of a kind was last counted, in seconds since 1970; 0.0 for never."""
        self._prepare()
        ((seen,),) = self._index.rows("SELECT MAX(seen) FROM holdings WHERE kind = ?", (kind,))
        return seen or 0.0

    def add(self, kind: str, name: bytes, size: int, *, seen: float | None = None) -> None:
        """It is here now."""
        self._prepare()
        values = (kind, name, size, time.time() if seen is None else seen)
        self._index.rows("INSERT OR REPLACE INTO holdings VALUES (?, ?, ?, ?, 1)", values)

    def remove(self, kind: str, name: bytes) -> None:
        """It is gone; how large it was is still known."""
        self._prepare()
        values = (time.time(), kind, name)
        self._index.rows(
            "UPDATE holdings SET here = 0, seen = ? WHERE kind = ? AND name = ?", values
        )

    def replace(self, found: Iterable[tuple[str, bytes, int]]) -> None:
        """What is here, by kind and name with its bytes, as a walk of the store has found it."""
        self._prepare()
        now, rows = time.time(), self._index.rows
        here = {(kind, name): size for kind, name, size in found}
        known = {
            (kind, bytes(name)): size
            for kind, name, size in rows(
                "SELECT kind, name, size FROM holdings WHERE here = 1 AND kind != ?", (_WALKED,)
            )
        }
        for kind, name in known.keys() - here.keys():
            self.remove(kind, name)
        for (kind, name), size in here.items():
            if known.get((kind, name)) != size:
                self.add(kind, name, size, seen=now)
        rows("DELETE FROM holdings WHERE here = 0 AND seen < ?", (now - _FORGOTTEN,))
        self.add(_WALKED, b"", 0)

    def _prepare(self) -> None:
        if not self._ready:
            with self._guard:
                self._index.rows(_SCHEMA)
                self._ready = True
