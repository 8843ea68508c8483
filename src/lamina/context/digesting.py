"""Completing the entries of a context with what only reading tells: digests and attributes.

Small files are read one after another, in the order in which they come (that of directories, after
a walk); large ones by a pool of threads, because hashing lets other threads run.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable

import msgspec

from lamina.context.descent import Descent
from lamina.context.reading import READ_FLAGS, read_directory_record, read_record
from lamina.context.statindex import Counters, Record, Stamp, StatIndex, stamp_of
from lamina.errors import HostError, UserError
from lamina.fs.paths import open_beneath
from lamina.layer.contents import Contents
from lamina.layer.entry import Entry, Kind

_ATTEMPTS = 3
_LARGE = 4 << 20

replace = msgspec.structs.replace


class Digesting:
    """Completes entries of the directory `root` (a descriptor), whose stamps are `stamps`.

    Small `contents` that had to be read are kept.
    """

    def __init__(
        self,
        root: int,
        stamps: dict[bytes, Stamp],
        index: StatIndex,
        counters: Counters,
        contents: Contents,
    ) -> None:
        self._root = root
        self._stamps = stamps
        self._index = index
        self._counters = counters
        self._contents = contents

    def complete(self, entries: Iterable[Entry]) -> list[Entry]:
        """Raises UserError for a file that goes on changing, HostError for an unreadable one."""
        entries = list(entries)
        self._contents = self._contents.for_files(len(entries))
        done: list[Entry] = []
        late: list[int] = []
        find, stamps = self._index.find, self._stamps
        with Descent(self._root) as descent:
            for entry in entries:
                kind = entry.kind
                if (kind is not Kind.FILE and kind is not Kind.DIRECTORY) or entry.digest:
                    done.append(entry)
                elif record := find(entry.path, stamps[entry.path]):
                    done.append(_completed(entry, record))
                elif kind is Kind.FILE and entry.size >= _LARGE:
                    late.append(len(done))
                    done.append(entry)
                else:
                    done.append(self._read(entry, descent))
        for position, entry in zip(late, self._read_all([done[i] for i in late]), strict=True):
            done[position] = entry
        return done

    def _read_all(self, entries: list[Entry]) -> list[Entry]:
        if len(entries) < 2:
            return [self._read(entry, None) for entry in entries]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(entries), os.cpu_count() or 1)) as pool:
            return list(pool.map(lambda entry: self._read(entry, None), entries))

    def _read(self, entry: Entry, descent: Descent | None) -> Entry:
        before: Stamp | None = self._stamps[entry.path]
        try:
            for _ in range(_ATTEMPTS):
                started = time.time_ns()
                descriptor = self._open(entry.path, descent)
                try:
                    if before is None:
                        entry, before = _current(entry, os.fstat(descriptor))
                    record = self._record(entry, descriptor)
                finally:
                    os.close(descriptor)
                if record.stamp == before:
                    self._stamps[entry.path] = before
                    self._index.store(entry.path, record, read_ns=started)
                    return _completed(entry, record)
                before = None
        except FileNotFoundError:
            what = "was removed"
        except OSError as error:
            raise HostError(f"cannot read {_name(entry)}: {error.strerror}") from error
        else:
            what = "keeps changing"
        raise UserError(
            f"{_name(entry)} {what} while it is read",
            hint="stop what writes to it, or exclude it in .dockerignore",
        )

    def _open(self, path: bytes, descent: Descent | None) -> int:
        if descent is None:
            return open_beneath(self._root, path, READ_FLAGS)
        parent, _, name = path.rpartition(b"/")
        return os.open(name or b".", READ_FLAGS, dir_fd=descent.directory(parent))

    def _record(self, entry: Entry, descriptor: int) -> Record:
        if entry.kind is Kind.DIRECTORY:
            return read_directory_record(descriptor)
        record = read_record(descriptor, entry.size, self._contents)
        self._counters.files_read += 1
        return record


def _completed(entry: Entry, record: Record) -> Entry:
    if record.xattrs:
        return replace(entry, digest=record.digest, xattrs=record.xattrs)
    return replace(entry, digest=record.digest) if record.digest else entry


def _current(entry: Entry, status: os.stat_result) -> tuple[Entry, Stamp]:
    """The entry as it is now that it was opened again."""
    is_directory = stat.S_ISDIR(status.st_mode)
    if not (is_directory or stat.S_ISREG(status.st_mode)) or is_directory != (
        entry.kind is Kind.DIRECTORY
    ):
        raise UserError(f"{_name(entry)} became something else while the build was looking")
    now = replace(
        entry,
        mode=stat.S_IMODE(status.st_mode),
        size=0 if is_directory else status.st_size,
        mtime_ns=status.st_mtime_ns,
    )
    return now, stamp_of(status)


def _name(entry: Entry) -> str:
    return os.fsdecode(entry.path) or "."
