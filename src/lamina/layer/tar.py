"""From a manifest and the directory with its files to the tar stream of the layer.

The stream depends on the manifest alone: the same layer gives the same bytes, hence the same diff
ID, on every machine. Whiteouts and opaque directories become the marker files of the OCI image
specification (layer.md, "Whiteouts").
"""

from __future__ import annotations

import hashlib
import os
from typing import Final, Protocol

from lamina.errors import HostError, UserError
from lamina.fs.copyfile import Hash, data_ranges
from lamina.layer.contents import SMALL, Contents
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.tarheader import BLOCK, END, encode_header
from lamina.oci.digest import Digest, digest_from

WHITEOUT: Final = b".wh."
OPAQUE_NAME: Final = b".wh..wh..opq"

_PIECE: Final = 1 << 20


class Sink(Protocol):
    """What a tar is written to."""

    def write(self, data: bytes | memoryview, /) -> object: ...


class DamagedLayer(HostError):
    """A file of a stored layer is not what its manifest says."""


class Reserved(UserError):
    """A file has a name that means a deletion in an image."""


class HashingSink:
    """Passes on what is written, or nothing, and keeps its SHA-256 and its size in bytes."""

    def __init__(self, out: Sink | None = None) -> None:
        self._out = out
        self._hasher = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview, /) -> int:
        self._hasher.update(data)
        self.size += len(data)
        if self._out is not None:
            self._out.write(data)
        return len(data)

    def digest(self) -> Digest:
        """The diff ID, when everything is written."""
        return digest_from(self._hasher.digest())


def write_tar(
    manifest: Manifest,
    directory: str | bytes,
    out: Sink,
    *,
    clamp_ns: int | None = None,
    verify: bool = False,
    contents: Contents | None = None,
) -> None:
    """Writes the layer; what `contents` do not have comes from `directory`, its unpacked form.

    Times above `clamp_ns` become that. `verify` hashes every file again; its size is checked
    anyway. Raises DamagedLayer, and Reserved for a file whose name begins with `.wh.`.
    """
    if contents is None or verify:
        contents = Contents(room=0)
    writer = _Writer(os.fsencode(directory), out, contents, verify=verify)
    for entry in manifest.entries:
        writer.add(entry, clamp_ns)
    writer.end()


def tar_of(manifest: Manifest, directory: str | bytes) -> tuple[Digest, int]:
    """The diff ID of the layer, and the size of its tar in bytes."""
    sink = HashingSink()
    write_tar(manifest, directory, sink)
    return sink.digest(), sink.size


class _Writer:
    """Gathers headers and small files, so that the sink gets large pieces."""

    def __init__(self, root: bytes, out: Sink, contents: Contents, *, verify: bool) -> None:
        self.root = root
        self.kept = contents.get
        self.out = out
        self.verify = verify
        self.parts: list[bytes] = []
        self.gathered = 0

    def add(self, entry: Entry, clamp_ns: int | None) -> None:
        mtime = entry.mtime_ns if clamp_ns is None else min(entry.mtime_ns, clamp_ns)
        self.put(encode_header(entry, _name(entry), mtime))
        if entry.kind is Kind.FILE:
            self.content(entry)
        elif entry.opaque:
            marker = entry.path + b"/" + OPAQUE_NAME if entry.path else OPAQUE_NAME
            self.put(encode_header(Entry(path=marker, kind=Kind.FILE), marker, 0))

    def put(self, data: bytes) -> None:
        self.parts.append(data)
        self.gathered += len(data)
        if self.gathered >= _PIECE:
            self.flush()

    def flush(self) -> None:
        if self.parts:
            self.out.write(b"".join(self.parts))
            self.parts.clear()
            self.gathered = 0

    def end(self) -> None:
        self.put(END)
        self.flush()

    def content(self, entry: Entry) -> None:
        kept = self.kept(entry.digest)
        if kept is not None and len(kept) == entry.size:
            self.put(kept)
            self.put(bytes(-entry.size % BLOCK))
            return
        path = self.root + b"/" + entry.path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise _damaged(path, error.strerror) from error
        try:
            if entry.size <= SMALL:
                self.small(descriptor, entry, path)
            else:
                self.large(descriptor, entry, path)
        finally:
            os.close(descriptor)

    def small(self, descriptor: int, entry: Entry, path: bytes) -> None:
        content = os.read(descriptor, entry.size + 1)
        if len(content) != entry.size:
            raise _damaged(path, "its size is wrong")
        if self.verify and hashlib.sha256(content).digest() != entry.digest:
            raise _damaged(path, "its content is wrong")
        if content:
            self.put(content + bytes(-len(content) % BLOCK))

    def large(self, descriptor: int, entry: Entry, path: bytes) -> None:
        self.flush()
        hasher = hashlib.sha256() if self.verify else None
        status = os.fstat(descriptor)
        if status.st_size != entry.size:
            raise _damaged(path, "its size is wrong")
        buffer = memoryview(bytearray(_PIECE))
        done = 0
        for start, stop in (*data_ranges(descriptor, status), (entry.size, entry.size)):
            self.zeros(start - done, hasher)
            done = start
            while done < stop:
                got = os.preadv(descriptor, [buffer[: min(stop - done, _PIECE)]], done)
                if got == 0:
                    raise _damaged(path, "its size is wrong")
                if hasher is not None:
                    hasher.update(buffer[:got])
                self.out.write(buffer[:got])
                done += got
        if hasher is not None and hasher.digest() != entry.digest:
            raise _damaged(path, "its content is wrong")
        self.put(bytes(-entry.size % BLOCK))

    def zeros(self, count: int, hasher: Hash | None) -> None:
        """A hole, which need not be read."""
        zeros = memoryview(bytes(min(count, _PIECE)))
        while count:
            piece = zeros[: min(count, _PIECE)]
            if hasher is not None:
                hasher.update(piece)
            self.out.write(piece)
            count -= len(piece)


def _name(entry: Entry) -> bytes:
    """What the tar calls it."""
    path = entry.path
    slash = path.rfind(b"/") + 1
    if entry.kind is Kind.WHITEOUT:
        return path[:slash] + WHITEOUT + path[slash:]
    if path.startswith(WHITEOUT, slash):
        name = os.fsdecode(path)
        raise Reserved(
            f"/{name} cannot be in an image: names that begin with .wh. stand for deletions there",
            hint="Remove or rename the file in the step that makes it.",
        )
    if entry.kind is Kind.DIRECTORY:
        return path + b"/" if path else b"./"
    return path


def _damaged(path: bytes, reason: str | None) -> DamagedLayer:
    return DamagedLayer(
        f"the store is damaged: {os.fsdecode(path)}: {reason}",
        hint="Remove the image that it belongs to, and build or pull it again.",
    )
