"""The index: one SQLite file that maps keys to records, and remembers what was computed from
layers.

Workload: a cached build of N steps makes N point lookups by key and writes nothing; a missed step
makes one lookup by locus (for its reason) and one insert. Several processes read and write at once,
hence the WAL. The index holds no file contents: losing it costs a rebuild, never a wrong result.
Rejected: one file a record (no lookup by locus without a second index), an LMDB map (a library
more, and no gain at these sizes).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from lamina.cachekey.key import CacheKey, ListedFile, Listing, Part
from lamina.content.blob import KnownBlob
from lamina.content.room import FULL
from lamina.errors import HostError
from lamina.layer.stack import Layer, Stack
from lamina.oci.digest import Digest, digest_from, encoded, parse_digest
from lamina.source import printable

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
  key BLOB PRIMARY KEY, locus TEXT NOT NULL, name TEXT NOT NULL, parts BLOB NOT NULL,
  stack BLOB NOT NULL, created REAL NOT NULL, last_used REAL NOT NULL, seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_locus ON records (locus, last_used);
CREATE TABLE IF NOT EXISTS listings (digest BLOB PRIMARY KEY, files BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (
  layer BLOB NOT NULL, form TEXT NOT NULL, digest BLOB NOT NULL, size INTEGER NOT NULL,
  diff_id BLOB NOT NULL, PRIMARY KEY (layer, form)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memos (
  kind TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
"""
_PATIENCE = 60.0  # seconds to wait for other processes
_LEAST_ROOM = 64 * 1024  # bytes
_TOUCH_AFTER = 3600.0  # seconds: a record used again within this time is not written again

_LAYER = "layer"  # the kind of memo that knows a layer by its diff ID
_FOREIGN = "foreign"  # the kind of memo that knows where a layer was before it came here
_CLAIMED = "claimed"  # the kind of memo that knows a layer by the diff ID that a cache says it has

_PARTS = msgspec.msgpack.Decoder(tuple[Part, ...])
_STACK = msgspec.msgpack.Decoder(Stack)
_ONE_LAYER = msgspec.msgpack.Decoder(Layer)
_FILES = msgspec.msgpack.Decoder(tuple[ListedFile, ...])


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a step made, and the parts of the key under which it is found. Times in seconds since
    1970.
    """

    key: Digest
    locus: str
    name: str
    parts: tuple[Part, ...]
    stack: Stack
    created: float
    last_used: float
    seconds: float


class Index:
    """Safe to use from several threads and processes. Raises HostError when the file is damaged."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            # Autocommit: every statement is a transaction, and a kill loses at most one of them.
            self._db = sqlite3.connect(
                path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            _patiently(lambda: self._db.execute("PRAGMA journal_mode=WAL"))
            self._db.execute("PRAGMA synchronous=NORMAL")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                make = f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={_VERSION};COMMIT;"
                self._db.executescript(make)
            elif found != _VERSION:
                raise HostError(
                    f"the cache index {path} has version {found}, this Lamina knows {_VERSION}",
                    hint="use a newer Lamina, or another --root",
                )
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None
        # The process may end without looking for what nobody uses any more.
        weakref.finalize(self, self._db.close)

    def close(self) -> None:
        """Nothing may be asked afterwards."""
        self._db.close()

    def record(self, key: Digest) -> Record | None:
        """What is known under exactly this key."""
        rows = self._query(f"SELECT {_COLUMNS} FROM records WHERE key = ?", (_raw(key),))
        return _record(rows[0]) if rows else None

    def nearest(self, locus: str) -> Record | None:
        """The latest record of a step, whatever its key is."""
        statement = (
            f"SELECT {_COLUMNS} FROM records WHERE locus = ? ORDER BY last_used DESC LIMIT 1"
        )
        rows = self._query(statement, (printable(locus),))
        return _record(rows[0]) if rows else None

    def add(self, key: CacheKey, *, locus: str, name: str, stack: Stack, seconds: float) -> Record:
        """Store what a step made; an earlier record with this key is replaced."""
        now = time.time()
        record = Record(
            key=key.digest,
            locus=printable(locus),
            name=printable(name),
            parts=key.parts,
            stack=stack,
            created=now,
            last_used=now,
            seconds=seconds,
        )
        self._store(record, key.listings)
        return record

    def adopt(self, record: Record, listings: Sequence[Listing]) -> None:
        """Store a record that came from elsewhere, and remember where its layers are.

        `listings` are those of its key that can be made without looking for files.
        """
        self._store(msgspec.structs.replace(record, last_used=time.time()), listings)
        for layer in record.stack:
            if layer.diff_id is not None and layer.blob is not None:
                said = msgspec.msgpack.encode(layer)
                self.add_memo(_CLAIMED, _raw(layer.diff_id), said)
                self.add_memo(_FOREIGN, _raw(layer.id), said)

    def foreign(self, layer: Digest) -> Layer | None:
        """The layer with this id as an external cache has it."""
        known = self.memo(_FOREIGN, _raw(layer))
        return None if known is None else _ONE_LAYER.decode(known)

    def claimed(self, diff_id: Digest) -> Layer | None:
        """The layer that has this diff ID, as an external cache says. Nobody has looked: with a
        layer that is here, anybody could take the place of a base image's (`layer_of`).
        """
        known = self.memo(_CLAIMED, _raw(diff_id))
        return None if known is None else _ONE_LAYER.decode(known)

    def _store(self, record: Record, listings: Sequence[Listing]) -> None:
        for listing in listings:
            self._add_listing(listing)
        self._query(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                _raw(record.key),
                record.locus,
                record.name,
                msgspec.msgpack.encode(record.parts),
                msgspec.msgpack.encode(record.stack),
                record.created,
                record.last_used,
                record.seconds,
            ),
        )

    def touch(self, records: Iterable[Record]) -> None:
        """Remember that the records were used now."""
        now = time.time()
        stale = [(now, _raw(r.key)) for r in records if now - r.last_used > _TOUCH_AFTER]
        if not stale:
            return
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("UPDATE records SET last_used = ? WHERE key = ?", stale)
                self._db.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                raise self._damaged(error) from None

    def listing(self, digest: Digest) -> tuple[ListedFile, ...] | None:
        rows = self._query("SELECT files FROM listings WHERE digest = ?", (_raw(digest),))
        return _FILES.decode(zlib.decompress(rows[0][0])) if rows else None

    def _add_listing(self, listing: Listing) -> None:
        digest = _raw(listing.digest)
        if self._query("SELECT 1 FROM listings WHERE digest = ?", (digest,)):
            return
        data = zlib.compress(msgspec.msgpack.encode(listing.files()), 1)
        self._query("INSERT OR IGNORE INTO listings VALUES (?, ?)", (digest, data))

    def blob(self, layer: Digest, form: str) -> KnownBlob | None:
        """The tar that was made of `layer` in `form` (`gzip:9`, `uncompressed` …)."""
        rows = self._query(
            "SELECT digest, size, diff_id FROM blobs WHERE layer = ? AND form = ?",
            (_raw(layer), form),
        )
        if not rows:
            return None
        digest, size, diff_id = rows[0]
        return KnownBlob(digest=digest_from(digest), size=size, diff_id=digest_from(diff_id))

    def add_blob(self, layer: Digest, form: str, blob: KnownBlob) -> None:
        """Remembers; what was known for the same layer and form is replaced."""
        values = (_raw(layer), form, _raw(blob.digest), blob.size, _raw(blob.diff_id))
        self._query("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?)", values)

    def layer_of(self, diff_id: Digest) -> Digest | None:
        """The layer whose plain tar has this digest: made here, or unpacked and checked here."""
        known = self.memo(_LAYER, _raw(diff_id))
        return None if known is None else parse_digest(known.decode())

    def add_layer(self, diff_id: Digest, layer: Digest) -> None:
        """Remembers which layer has a plain tar with this digest."""
        self.add_memo(_LAYER, _raw(diff_id), layer.encode())

    def memo(self, kind: str, key: bytes) -> bytes | None:
        """A small value that was computed from `key` before, and that `key` alone decides."""
        rows = self._query("SELECT value FROM memos WHERE kind = ? AND key = ?", (kind, key))
        return bytes(rows[0][0]) if rows else None

    def add_memo(self, kind: str, key: bytes, value: bytes) -> None:
        """Remembers; what was known for the same key is replaced."""
        self._query("INSERT OR REPLACE INTO memos VALUES (?, ?, ?)", (kind, key, value))

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a statement gives, for those who keep tables of their own here (`cache.holdings`)
        or look at all that there is (`cache.contents`). Raises HostError.
        """
        return self._query(statement, values)

    def _query(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._damaged(error) from None

    def _damaged(self, error: sqlite3.DatabaseError) -> HostError:
        if "full" in str(error) or _disk_is_full(self._path):
            return HostError(f"no space left on the disk that holds {self._path}", hint=FULL)
        return HostError(
            f"the cache index {self._path} cannot be used: {error}",
            hint=f"remove it (rm {self._path}*): builds will run their steps again, nothing else "
            "is lost",
        )


def _disk_is_full(path: str) -> bool:
    """Then the database may fail in any way: it needs a file of its own even to be read."""
    try:
        disk = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _LEAST_ROOM


_COLUMNS = "key, locus, name, parts, stack, created, last_used, seconds"


def _record(row: tuple[Any, ...]) -> Record:
    key, locus, name, parts, stack, created, last_used, seconds = row
    return Record(
        key=digest_from(key),
        locus=locus,
        name=name,
        parts=_PARTS.decode(parts),
        stack=_STACK.decode(stack),
        created=created,
        last_used=last_used,
        seconds=seconds,
    )


def _patiently(act: Callable[[], object]) -> None:
    """SQLite does not wait by itself for others that change how the same new file is written."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            act()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _raw(digest: Digest) -> bytes:
    return bytes.fromhex(encoded(digest))
