"""From the state of a cache mount to a folder: packs are fetched and unpacked side by side.

    directories ──▶ large files, empty ──▶ packs: small files, pieces of large ones (threads)
                                             └──▶ hard links ──▶ symlinks ──▶ times

Nobody else writes to the folder, and no symlink is made before the last file is there: no path
can lead out of it. What comes is checked chunk by chunk, before it is written.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import msgspec

from lamina.content.store import BlobStore, host_errors
from lamina.context.statindex import Record, StatIndex, stamp_of
from lamina.errors import HostError, UserError
from lamina.layer.entry import Entry, Kind
from lamina.layer.filling import write_all
from lamina.layer.writing import DiffWriter
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_from
from lamina.remotecache.mounts.cutting import SMALL, identity
from lamina.remotecache.mounts.manifest import (
    PACK_MEDIA_TYPE,
    Chunk,
    MalformedState,
    MountManifest,
    Pack,
    inflated,
)
from lamina.remotecache.port import CacheReader

_AT_ONCE: Final = 4  # packs
_ROOM: Final = 64 << 20  # bytes that are left free on the disk
_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC

CountBytes = Callable[[int, int], None]
"""Is told how many bytes have arrived, and how many there are."""


class _Piece(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a chunk that go into the file `entry`, at `start` of it."""

    entry: Entry
    offset: int
    size: int
    start: int


def restore(
    manifest: MountManifest,
    reader: CacheReader,
    folder: str,
    *,
    scratch: BlobStore,
    progress: CountBytes,
    cancelled: threading.Event,
) -> tuple[str, ...]:
    """Writes the files of a state into the empty `folder`; returns what the disk did not take of
    them (owners, attributes).

    `scratch` holds packs for a while. Raises MalformedState, RemoteError, HostError, and UserError
    when it is cancelled; the folder then holds anything.
    """
    with host_errors(folder):
        _check_room(folder, manifest)
        writer = DiffWriter(os.fsencode(folder))
        try:
            return _Restoring(manifest, reader, folder, writer, scratch, progress, cancelled).run()
        finally:
            writer.close()


def _check_room(folder: str, manifest: MountManifest) -> None:
    room = os.statvfs(folder)
    needed = manifest.size + _AT_ONCE * max((pack.size for pack in manifest.packs), default=0)
    if needed + _ROOM > room.f_bavail * room.f_frsize:
        raise HostError(f"there is no room for its {needed} bytes on the disk of {folder}")


class _Restoring:
    def __init__(
        self,
        manifest: MountManifest,
        reader: CacheReader,
        folder: str,
        writer: DiffWriter,
        scratch: BlobStore,
        progress: CountBytes,
        cancelled: threading.Event,
    ) -> None:
        self._manifest = manifest
        self._reader = reader
        self._root = os.fsencode(folder)
        self._writer = writer
        self._scratch = scratch
        self._progress = progress
        self._stop = cancelled
        self._failed = threading.Event()
        self._guard = threading.Lock()
        self._arrived = 0
        self._notes: list[str] = []

    def run(self) -> tuple[str, ...]:
        entries = self._manifest.entries
        writer = self._writer
        for entry in entries:
            if entry.kind is Kind.DIRECTORY:
                writer.make_directory(entry.path)
            elif entry.kind is Kind.FILE and (entry.size > SMALL or not entry.size):
                descriptor = writer.create(entry.path)
                os.ftruncate(descriptor, entry.size)
                os.close(descriptor)
        self._fill()
        self._finish()
        self._keep_notes(writer)
        return tuple(dict.fromkeys(self._notes))

    def _fill(self) -> None:
        pieces = self._pieces()
        by_pack: dict[int, list[tuple[Chunk, list[_Piece]]]] = {}
        for number in sorted(pieces):
            chunk = self._manifest.chunks[number]
            by_pack.setdefault(chunk.pack, []).append((chunk, pieces[number]))
        total = sum(self._manifest.packs[place].size for place in by_pack)

        def one(place: int) -> None:
            try:
                self._unpack(self._manifest.packs[place], by_pack[place], total)
            except BaseException:
                self._failed.set()
                raise

        with ThreadPoolExecutor(_AT_ONCE, "restore") as pool:
            for done in [pool.submit(one, place) for place in sorted(by_pack)]:
                if not self._failed.is_set():
                    done.result()
                elif (error := done.exception()) is not None and not isinstance(error, _Stopped):
                    raise error

    def _pieces(self) -> dict[int, list[_Piece]]:
        """What has to be written, by the place of the chunk that it comes from."""
        files: dict[bytes, list[Entry]] = {}
        for entry in self._manifest.entries:
            if entry.kind is Kind.FILE and entry.size:
                files.setdefault(entry.digest, []).append(entry)
        pieces: dict[int, list[_Piece]] = {}
        for digest, same in files.items():
            start = 0
            for extent in self._manifest.contents[digest]:
                place = pieces.setdefault(extent.chunk, [])
                place += [_Piece(entry, extent.offset, extent.size, start) for entry in same]
                start += extent.size
        return pieces

    def _unpack(self, pack: Pack, chunks: list[tuple[Chunk, list[_Piece]]], total: int) -> None:
        self._check_going_on()
        digest = digest_from(pack.digest)
        blob = Descriptor(media_type=PACK_MEDIA_TYPE, digest=digest, size=pack.size)
        self._reader.fetch(blob, self._scratch, progress=lambda more: self._count(more, total))
        writer = DiffWriter(self._root)
        try:
            with self._packed(digest) as read:
                for chunk, pieces in chunks:
                    self._check_going_on()
                    data = inflated(read(chunk.offset, chunk.stored), chunk.size)
                    if identity(data) != chunk.digest:
                        raise MalformedState("a chunk is not what its digest says")
                    for piece in pieces:
                        self._write(writer, piece, data)
        finally:
            self._keep_notes(writer)
            writer.close()

    @contextmanager
    def _packed(self, digest: Digest) -> Iterator[Callable[[int, int], bytes]]:
        """Reads a pack, which is removed afterwards."""
        with self._scratch.open(digest) as file:
            self._scratch.remove(digest)
            descriptor = file.fileno()
            yield lambda offset, size: os.pread(descriptor, size, offset)

    def _write(self, writer: DiffWriter, piece: _Piece, data: bytes) -> None:
        entry = piece.entry
        part = memoryview(data)[piece.offset : piece.offset + piece.size]
        if entry.size > SMALL:
            descriptor = os.open(self._path(entry), _WRITE)
            try:
                os.lseek(descriptor, piece.start, os.SEEK_SET)
                write_all(descriptor, bytes(part))
            finally:
                os.close(descriptor)
            return
        content = bytes(part)
        if identity(content) != entry.digest:
            raise MalformedState("a file is not what its digest says")
        descriptor = writer.create(entry.path)
        try:
            write_all(descriptor, content)
            writer.complete(descriptor, entry)
        finally:
            os.close(descriptor)

    def _finish(self) -> None:
        """Everything that had to wait for the contents."""
        writer = self._writer
        links: list[Entry] = []
        for entry in self._manifest.entries:
            match entry.kind:
                case Kind.FILE if entry.size > SMALL or not entry.size:
                    descriptor = os.open(self._path(entry), _WRITE)
                    try:
                        writer.complete(descriptor, entry)
                    finally:
                        os.close(descriptor)
                case Kind.HARDLINK:
                    writer.link(entry.link, entry.path)
                case Kind.FIFO:
                    writer.make_other(entry)
                case Kind.SYMLINK:
                    links.append(entry)
        for entry in links:
            writer.make_other(entry)
        for entry in reversed(self._manifest.entries):
            if entry.kind is Kind.DIRECTORY:
                writer.complete_directory(entry, opaque=False)

    def _path(self, entry: Entry) -> bytes:
        return self._root + b"/" + entry.path

    def _check_going_on(self) -> None:
        if self._stop.is_set():
            raise UserError("canceled")
        if self._failed.is_set():
            raise _Stopped

    def _count(self, more: int, total: int) -> None:
        with self._guard:
            self._arrived += more
            self._progress(self._arrived, total)

    def _keep_notes(self, writer: DiffWriter) -> None:
        with self._guard:
            self._notes += [note.what for note in writer.notes]


def stamps_of(folder: str, stamps: str, manifest: MountManifest) -> None:
    """Remembers in the file `stamps` what is in the files of a folder that was just restored."""
    index = StatIndex(stamps)
    now = time.time_ns()
    root = os.fsencode(folder)
    for entry in manifest.entries:
        if entry.kind is Kind.FILE:
            stamp = stamp_of(os.lstat(root + b"/" + entry.path))
            index.store(entry.path, Record(stamp, entry.digest, entry.xattrs), read_ns=now)
    index.save()


class _Stopped(Exception):
    """Another thread has failed."""
