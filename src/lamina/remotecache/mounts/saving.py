"""From a folder to the state of a cache mount: what the other side lacks is packed and sent."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from lamina.content.store import BlobStore
from lamina.context.statindex import Record, StatIndex, stamp_of
from lamina.layer.entry import Entry, Kind
from lamina.layer.overlay import read_entry, read_xattrs
from lamina.layer.scan import link_names
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_from
from lamina.remotecache.mounts.cutting import (
    BUNDLE,
    LARGEST_BUNDLE,
    SMALL,
    cut,
    cutter,
    ends_after,
    identity,
    identity_of_large,
)
from lamina.remotecache.mounts.known import Known, Part
from lamina.remotecache.mounts.manifest import (
    PACK_MEDIA_TYPE,
    MountManifest,
    Pack,
    shown,
)
from lamina.remotecache.mounts.packing import Packer
from lamina.remotecache.mounts.walking import Changed, Found, StillFile, look_again, walk
from lamina.remotecache.port import CacheBorrower, CacheWriter

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

_ATTEMPTS: Final = 3
_TRAVELS: Final = (Kind.DIRECTORY, Kind.SYMLINK, Kind.FIFO)

CountFiles = Callable[[int], None]
"""Is told how many bytes of files were looked at so far."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent. `sent` in bytes, without the manifest. `left_out` says what is missing."""

    manifest: MountManifest
    packs: tuple[Descriptor, ...]
    sent: int
    left_out: tuple[str, ...]


def save(
    folder: str,
    *,
    earlier: MountManifest | None,
    index: StatIndex,
    writer: CacheWriter,
    scratch: BlobStore,
    progress: CountFiles,
    trusted: bool = True,
    threads: int = 2,
) -> Saved:
    """Sends what `writer` lacks of the files in `folder`, the manifest excepted.

    `earlier` is a state that it has, or may have where it is not `trusted`. Unchanged files that
    `index` knows are not read. Raises what the writer raises, HostError and OSError.
    """
    known = Known(earlier)
    with _sending(known, writer, scratch, threads) as packer:
        reading = _Reading(known, packer, index, progress)
        while True:
            entries = reading.run(folder)
            contents = {entry.digest for entry in entries if entry.digest}
            useless = known.wasteful_packs(contents)
            if not trusted or earlier is None or entries != earlier.entries:
                useless |= _missing(known, contents, writer)
            if not useless:
                break
            known.forget(useless)
        packer.finish()
    manifest = known.manifest(entries, packs=packer.packs, chunks=packer.chunks)
    return Saved(
        manifest=manifest,
        packs=tuple(_descriptor(pack) for pack in manifest.packs),
        sent=sum(pack.size for pack in packer.packs),
        left_out=tuple(
            f"{shown(path)}: {reason}" for path, reason in sorted(reading.left_out.items())
        ),
    )


def _sending(known: Known, writer: CacheWriter, scratch: BlobStore, threads: int) -> Packer:
    def send(pack: Descriptor) -> None:
        if not _is_there(writer, pack):
            writer.push(pack, scratch)
        scratch.remove(pack.digest)

    return Packer(scratch, send, first=len(known.packs), threads=threads)


def _is_there(writer: CacheWriter, pack: Descriptor) -> bool:
    """Whether the pack is there, or could be brought there without being sent."""
    return writer.has(pack) or (isinstance(writer, CacheBorrower) and writer.borrow(pack))


def _missing(known: Known, contents: set[bytes], writer: CacheWriter) -> set[int]:
    """Those of the earlier packs that are of use, and gone nevertheless."""
    from concurrent.futures import ThreadPoolExecutor

    places = sorted(known.used_packs(contents))
    with ThreadPoolExecutor(4) as pool:
        packs = [_descriptor(known.packs[place]) for place in places]
        there = pool.map(lambda pack: _is_there(writer, pack), packs)
        return {place for place, is_there in zip(places, there, strict=True) if not is_there}


def _descriptor(pack: Pack) -> Descriptor:
    digest = digest_from(pack.digest)
    return Descriptor(media_type=PACK_MEDIA_TYPE, digest=digest, size=pack.size)


class _Reading:
    """Goes through the folder, once or several times; what is new goes to the packer."""

    def __init__(
        self, known: Known, packer: Packer, index: StatIndex, progress: CountFiles
    ) -> None:
        self._known = known
        self._packer = packer
        self._index = index
        self._progress = progress
        self._cdc: FastCDC | None = None
        self._bundle: dict[bytes, bytes] = {}
        self._bundled = 0
        self.left_out: dict[bytes, str] = {}

    def run(self, folder: str) -> tuple[Entry, ...]:
        """The entries, sorted; where their contents lie is known afterwards."""
        entries: list[Entry] = []
        inodes: dict[tuple[int, int], list[int]] = {}
        self.left_out.clear()
        seen = 0
        for found in walk(folder, self._leave_out):
            status = found.status
            if not stat.S_ISREG(status.st_mode):
                entry = self._other(found)
            elif status.st_nlink > 1:
                same = inodes.setdefault((status.st_dev, status.st_ino), [])
                entry = Entry(path=found.path, kind=Kind.HARDLINK) if same else self._file(found)
                if entry is not None:
                    same.append(len(entries))
            else:
                entry = self._file(found)
            if entry is not None:
                entries.append(entry)
                seen += entry.size
                self._progress(seen)
        self._close_bundle()
        link_names(entries, [same for same in inodes.values() if len(same) > 1])
        entries.sort(key=lambda entry: entry.path)
        return tuple(entries)

    def _leave_out(self, path: bytes, reason: str) -> None:
        self.left_out[path] = reason

    def _other(self, found: Found) -> Entry | None:
        try:
            entry = read_entry(found.path, found.host, found.status)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._leave_out(found.path, error.strerror or "it cannot be read")
            return None
        if entry is None:
            return None  # a socket is of no use to anybody else
        if entry.kind not in _TRAVELS:
            self._leave_out(found.path, "it is a device")
            return None
        return replace(entry, opaque=False) if entry.opaque else entry

    def _file(self, found: Found) -> Entry | None:
        """The entry of a file; None where it is left out."""
        now: Found | None = found
        for _ in range(_ATTEMPTS):
            if now is None or not stat.S_ISREG(now.status.st_mode):
                return None  # it is gone, and so is what it would have been
            try:
                return self._still_file(now)
            except Changed:
                now = look_again(found)
            except OSError as error:
                self._leave_out(found.path, error.strerror or "it cannot be read")
                return None
        self._leave_out(found.path, "it changed while it was read")
        return None

    def _still_file(self, found: Found) -> Entry:
        status = found.status
        stamp = stamp_of(status)
        record = self._index.find(found.path, stamp)
        if record is None or (record.digest and not self._is_known(record.digest)):
            started = time.time_ns()
            with StillFile(found) as file:
                xattrs, _ = read_xattrs(file.descriptor)
                digest = self._content(file, status.st_size)
                record = Record(stamp, digest, xattrs)
            self._index.store(found.path, record, read_ns=started)
        return Entry(
            path=found.path,
            kind=Kind.FILE,
            mode=status.st_mode & 0o7777,
            uid=status.st_uid,
            gid=status.st_gid,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            digest=record.digest,
            xattrs=record.xattrs,
        )

    def _is_known(self, digest: bytes) -> bool:
        return digest in self._known.contents or digest in self._bundle

    def _content(self, file: StillFile, size: int) -> bytes:
        """The identity of the file's content, which is known or packed afterwards."""
        if not size:
            return b""
        if size > SMALL:
            return self._large(file, size)
        data = file.read_whole()
        digest = identity(data)
        if not self._is_known(digest):
            self._bundle[digest] = data
            self._bundled += size
            if self._bundled >= LARGEST_BUNDLE or ends_after(digest, size, BUNDLE):
                self._close_bundle()
        return digest

    def _large(self, file: StillFile, size: int) -> bytes:
        if self._cdc is None:
            self._cdc = cutter()
        parts = []
        done = 0
        for data in cut(self._cdc, file):
            digest = identity(data)
            self._pack(digest, data)
            parts.append(Part(digest, 0, len(data)))
            done += len(data)
            if done > size:
                break  # somebody writes to it as fast as it is read
        file.check()
        if done != size:
            raise Changed
        whole = identity_of_large([part.chunk for part in parts])
        self._known.contents.setdefault(whole, tuple(parts))
        return whole

    def _close_bundle(self) -> None:
        if not self._bundle:
            return
        data = b"".join(self._bundle.values())
        chunk = identity(data)
        self._pack(chunk, data)
        offset = 0
        for digest, piece in self._bundle.items():
            self._known.contents[digest] = (Part(chunk, offset, len(piece)),)
            offset += len(piece)
        self._bundle.clear()
        self._bundled = 0

    def _pack(self, digest: bytes, data: bytes) -> None:
        if not self._known.has_chunk(digest):
            self._packer.add(digest, data)
            self._known.add_chunk(digest)
