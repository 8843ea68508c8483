"""What a layer holds: entries, and the manifest that lists them.

The same values describe a build context: there an entry's `digest` may still be unknown.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable

import msgspec

from lamina.oci.digest import Digest, digest_from


class Kind(enum.IntEnum):
    """What stands at a path. The numbers are part of the format."""

    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2
    HARDLINK = 3
    CHARACTER = 4
    BLOCK = 5
    FIFO = 6
    WHITEOUT = 7


class Entry(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """One path of a layer.

    `path` is relative to the root, without a leading slash; b"" is the root itself.
    `mode` are the twelve permission bits. `size` is that of a FILE in bytes.
    `link` is the target of a SYMLINK, or the path (of the same layer) that a HARDLINK repeats.
    `digest` is the SHA-256 of a FILE's content (32 bytes), b"" where it is not known yet.
    `device` is (major, minor) of CHARACTER and BLOCK. `opaque` is true for a DIRECTORY that hides
    everything that lower layers have below it. A WHITEOUT hides what lower layers have at its path.
    `xattrs` are sorted by name; `security.capability` is one of them, overlay's own are not.
    """

    path: bytes
    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    digest: bytes = b""
    device: tuple[int, int] = (0, 0)
    opaque: bool = False
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """The entries of a layer, sorted by path (as bytes, component by component order not needed).

    Every directory stands before what is in it; HARDLINKs stand after the FILE they repeat.
    """

    entries: tuple[Entry, ...]

    def identity(self) -> Digest:
        """The digest of everything but the times: the layer's id."""
        return identity(self.entries)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Manifest)


def identity(entries: Iterable[Entry]) -> Digest:
    """The digest of sorted entries without their times."""
    hasher = hashlib.sha256(b"lamina layer 1\n")
    encode, replace = _ENCODER.encode, msgspec.structs.replace
    for entry in entries:
        hasher.update(encode(replace(entry, mtime_ns=0) if entry.mtime_ns else entry))
    return digest_from(hasher.digest())


def encode_manifest(manifest: Manifest) -> bytes:
    return _ENCODER.encode(manifest)


def decode_manifest(data: bytes) -> Manifest:
    """Raises msgspec.DecodeError where `data` is damaged."""
    return _DECODER.decode(data)
