"""Digests remembered by what `stat` says, so that an unchanged file is never read again.

Workload: every build looks up every file of its context, and stores few. One file per context root
holds a version and a map of path to record, and is read whole: 10,000 records take about 10 ms. A
database was rejected: it would be slower for the look-ups, and a lost index costs only time.

A record is kept only if the file had been left alone for longer than the clock of its file system
can tell apart, as seen from the moment at which it was read. Else a later change could leave the
same times behind (git calls such an entry racy).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct

import msgspec

from lamina.fs.lock import locked
from lamina.fs.publish import publish_file

_VERSION = 1

# Kernels stamp files with the time of the last tick, which is at most 10 ms old (CONFIG_HZ=100).
_TICK_NS = 20_000_000
# FAT counts in steps of two seconds, some network file systems in whole seconds.
_COARSE_NS = 2_500_000_000
_SECOND_NS = 1_000_000_000

# More forgotten files than these in an index are dropped when it is written.
_SPARE_RECORDS = 5_000

Stamp = bytes
"""Size, mtime, ctime (in nanoseconds), inode and device: equal stamps mean the same content.

Packed, because a large context has very many of them.
"""

_PACKED = struct.Struct("<qqqQQ")

Xattrs = tuple[tuple[bytes, bytes], ...]


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of a file with this stamp. `digest` is b"" for directories."""

    stamp: Stamp
    digest: bytes
    xattrs: Xattrs = ()


class _Stored(msgspec.Struct, array_like=True):
    version: int
    records: dict[bytes, Record]


class Counters(msgspec.Struct):
    """What the scan of a context cost."""

    files_stat: int = 0
    files_read: int = 0


def stamp_of(status: os.stat_result) -> Stamp:
    """b"" for times beyond the year 2262: such a file is read every time."""
    try:
        return _PACKED.pack(
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            status.st_dev,
        )
    except struct.error:
        return b""


def settled(stamp: Stamp, read_ns: int) -> bool:
    """Whether a change after `read_ns` (when the file was read) is sure to change the stamp."""
    if not stamp:
        return False
    _, mtime, ctime, _, _ = _PACKED.unpack(stamp)
    coarse = mtime % _SECOND_NS == 0 and ctime % _SECOND_NS == 0
    granularity = _COARSE_NS if coarse else _TICK_NS
    return bool(max(mtime, ctime) < read_ns - granularity)


def index_file(directory: str, root: str) -> str:
    """Where the index of the context `root` lies in `directory`."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()
    return os.path.join(directory, name)


class StatIndex:
    """The records of one context root, loaded when first asked and written by `save`.

    May be used by several threads: look-ups and stores are single operations on a dictionary.
    """

    def __init__(self, file: str | None) -> None:
        """`file` (see `index_file`) may be missing or damaged; None: nothing is kept."""
        self._file = os.path.abspath(file) if file else None
        self._old: dict[bytes, Record] | None = None
        self._fresh: dict[bytes, Record] = {}
        self._used: set[bytes] = set()

    def find(self, path: bytes, stamp: Stamp) -> Record | None:
        """The record of the file, if it still has this stamp."""
        if self._old is None:
            self._old = self._load()
        record = self._fresh.get(path) or self._old.get(path)
        if record is None or record.stamp != stamp:
            return None
        self._used.add(path)
        return record

    def store(self, path: bytes, record: Record, *, read_ns: int) -> None:
        """Remembers a file that was read at `read_ns`, unless its stamp cannot be trusted."""
        if settled(record.stamp, read_ns):
            self._fresh[path] = record

    def save(self) -> None:
        """Writes what is new, together with what other processes have stored meanwhile.

        Failing to write costs time in the next build and nothing else, so it is no error.
        """
        if self._file is None or not self._fresh:
            return
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._file), exist_ok=True)
            with locked(self._file + ".lock"):
                self._publish({**self._load(), **self._fresh})

    def _publish(self, records: dict[bytes, Record]) -> None:
        assert self._file is not None
        living = self._used | self._fresh.keys()
        if len(records) > 2 * len(living) + _SPARE_RECORDS:
            records = {path: record for path, record in records.items() if path in living}
        data = msgspec.msgpack.encode(_Stored(version=_VERSION, records=records))
        publish_file(self._file, data, mode=0o600)
        self._old, self._fresh = records, {}

    def _load(self) -> dict[bytes, Record]:
        if self._file is None:
            return {}
        try:
            with open(self._file, "rb") as stream:
                stored = msgspec.msgpack.decode(stream.read(), type=_Stored)
        except (OSError, msgspec.DecodeError):
            return {}
        return stored.records if stored.version == _VERSION else {}
