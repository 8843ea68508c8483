"""The manifest of a cache mount's state: its files, and where their contents lie.

    entry ──digest──▶ extents ──▶ chunk ──▶ pack
                      (a part of a chunk: a small file; several whole chunks: a large one)

It is MessagePack, and the same for the same state (`states` stores it). `decode` believes nothing
of it: a manifest that it returns can be restored without leaving the folder, and names no content
that its digest does not stand for (small files can only be checked with the bytes at hand).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from lamina.content.compression import zstd_module
from lamina.content.errors import MalformedImage
from lamina.layer.entry import Entry, Kind
from lamina.layer.overlay import is_kept
from lamina.oci.digest import Digest, digest_from
from lamina.remotecache.mounts.cutting import LARGEST_CHUNK, SMALL, identity_of_large

VERSION: Final = 1
MEDIA_TYPE: Final = "application/vnd.lamina.mount.v1+zstd"
PACK_MEDIA_TYPE: Final = "application/vnd.lamina.mount.pack.v1"

MAX_STORED: Final = 32 << 20
"""No manifest is larger than this in bytes, compressed."""

MAX_PLAIN: Final = 48 << 20
"""Nor decompressed."""

MAX_PATH: Final = 3000
"""Nor has a longer path in it, in bytes: it must fit behind that of the store."""

MAX_DEPTH: Final = 200
"""Nor has more directories in one another."""

_NOBODY: Final = (1 << 32) - 1  # no owner has this id or a greater one
_LARGEST_STORED: Final = 2 * LARGEST_CHUNK  # what cannot be compressed becomes a little larger
_KINDS: Final = (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK, Kind.FIFO)
_BAD_NAMES: Final = (b"", b".", b"..")


class MalformedState(MalformedImage):
    """The state of a cache mount that breaks the format."""


class Pack(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A blob of chunks: its SHA-256 (32 bytes) and size in bytes."""

    digest: bytes
    size: int


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Bytes that are compressed together, as one zstd frame.

    `digest` is the SHA-256 of the `size` plain bytes. The frame is `stored` bytes from `offset` of
    the pack with the place `pack` in the list.
    """

    digest: bytes
    pack: int
    offset: int
    stored: int
    size: int


class Extent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`size` bytes from `offset` of the plain bytes of the chunk with the place `chunk`."""

    chunk: int
    offset: int
    size: int


class MountManifest(msgspec.Struct, frozen=True, array_like=True):
    """A state. `entries` are sorted by path, without the root; `digest` of a FILE that is not empty
    is the key of its extents in `contents` (see `cutting` for what it is of).
    """

    version: int
    entries: tuple[Entry, ...]
    contents: dict[bytes, tuple[Extent, ...]]
    chunks: tuple[Chunk, ...]
    packs: tuple[Pack, ...]

    @property
    def size(self) -> int:
        """In bytes, as the files lie on disk."""
        return sum(entry.size for entry in self.entries)

    @property
    def files(self) -> int:
        return sum(entry.kind in (Kind.FILE, Kind.HARDLINK) for entry in self.entries)


def encode(manifest: MountManifest) -> bytes:
    """Raises MalformedState for one that is too large to be read again."""
    plain = msgspec.msgpack.encode(manifest)
    if len(plain) > MAX_PLAIN:
        raise MalformedState("it has too many files")
    return plain


def decode(plain: bytes, *, packs: Collection[Digest]) -> MountManifest:
    """Reads what `encode` made; `packs` are all blobs that it may name. Raises MalformedState."""
    try:
        manifest = msgspec.msgpack.decode(plain, type=MountManifest)
    except msgspec.DecodeError as error:
        raise MalformedState(f"its manifest is damaged: {error}") from error
    if manifest.version != VERSION:
        raise MalformedState(f"its version is {manifest.version}, {VERSION} is known")
    _check_packs(manifest, packs)
    for digest, extents in manifest.contents.items():
        _check_content(manifest, digest, extents)
    _check_entries(manifest)
    return manifest


def deflated(plain: bytes, *, base: bytes = b"") -> bytes:
    """One zstd frame. With a `base` it is the difference from that."""
    zstd = zstd_module()
    if not base:
        data: bytes = zstd.compress(plain)
        return data
    parameter = zstd.CompressionParameter
    options = {
        parameter.compression_level: 3,
        # It looks back over all of the base, and knows every place of it.
        parameter.window_log: min(max((len(base) + len(plain)).bit_length(), 10), 27),
        parameter.enable_long_distance_matching: 1,
        parameter.ldm_min_match: 16,
        parameter.ldm_hash_rate_log: 2,
    }
    prefix = zstd.ZstdDict(base, is_raw=True).as_prefix
    difference: bytes = zstd.compress(plain, options=options, zstd_dict=prefix)
    return difference


def inflated(data: bytes, most: int, *, base: bytes = b"") -> bytes:
    """The plain bytes of one zstd frame. Raises MalformedState if there are more than `most`."""
    zstd = zstd_module()
    try:
        prefix = zstd.ZstdDict(base, is_raw=True).as_prefix if base else None
        decompressor = zstd.ZstdDecompressor(zstd_dict=prefix)
        plain: bytes = decompressor.decompress(data, most + 1)
    except (zstd.ZstdError, ValueError) as error:
        raise MalformedState(f"compressed data is damaged: {error}") from error
    if len(plain) > most or not decompressor.eof or decompressor.unused_data:
        raise MalformedState("compressed data has another size than it should have")
    return plain


def shown(path: bytes) -> str:
    """A path for people, with everything that is no text escaped."""
    return repr(path[:200].decode("utf-8", "backslashreplace"))


def _check_packs(manifest: MountManifest, allowed: Collection[Digest]) -> None:
    for pack in manifest.packs:
        if len(pack.digest) != 32 or digest_from(pack.digest) not in allowed:
            raise MalformedState("it names a pack that it does not have")
    sizes = [pack.size for pack in manifest.packs]
    for chunk in manifest.chunks:
        inside = 0 <= chunk.pack < len(sizes) and chunk.offset >= 0
        if not inside or chunk.stored <= 0 or chunk.offset + chunk.stored > sizes[chunk.pack]:
            raise MalformedState("a chunk lies outside of its pack")
        if not 0 < chunk.size <= LARGEST_CHUNK or chunk.stored > _LARGEST_STORED:
            raise MalformedState("a chunk has a size that none can have")
        if len(chunk.digest) != 32:
            raise MalformedState("a chunk has a size that none can have")


def _check_content(manifest: MountManifest, digest: bytes, extents: tuple[Extent, ...]) -> None:
    chunks = manifest.chunks
    for extent in extents:
        if not 0 <= extent.chunk < len(chunks) or extent.offset < 0 or extent.size <= 0:
            raise MalformedState("a content lies in no chunk")
        if extent.offset + extent.size > chunks[extent.chunk].size:
            raise MalformedState("a content lies outside of its chunk")
    if len(extents) == 1 and extents[0].size <= SMALL:
        return
    for extent in extents:
        if extent.offset or extent.size != chunks[extent.chunk].size:
            raise MalformedState("a large content has a part of a chunk")
    if identity_of_large([chunks[extent.chunk].digest for extent in extents]) != digest:
        raise MalformedState("a content is not what its digest says")


def _check_entries(manifest: MountManifest) -> None:
    """Every path is new, below a directory, and cannot leave the folder."""
    seen: dict[bytes, Kind] = {b"": Kind.DIRECTORY}
    sizes = {key: sum(each.size for each in parts) for key, parts in manifest.contents.items()}
    for entry in manifest.entries:
        parent, slash, name = entry.path.rpartition(b"/")
        if name in _BAD_NAMES or b"\0" in name or len(name) > 255 or len(entry.path) > MAX_PATH:
            raise MalformedState(f"{shown(entry.path)} is no path of a file")
        # The top is b"", so an absolute path would seem to lie in it.
        is_absolute = bool(slash) and not parent
        if is_absolute or entry.path in seen or seen.get(parent) is not Kind.DIRECTORY:
            raise MalformedState(f"{shown(entry.path)} has no place")
        if entry.path.count(b"/") > MAX_DEPTH or entry.kind not in _KINDS:
            raise MalformedState(f"{shown(entry.path)} is nothing that a cache mount holds")
        if entry.opaque or not all(is_kept(k) and b"\0" not in k for k, _ in entry.xattrs):
            raise MalformedState(f"{shown(entry.path)} has attributes that no file may have")
        owners = 0 <= entry.uid < _NOBODY and 0 <= entry.gid < _NOBODY
        if not 0 <= entry.mode <= 0o7777 or not owners:
            raise MalformedState(f"{shown(entry.path)} has an owner or a mode that none can have")
        match entry.kind:
            case Kind.FILE if entry.size != (sizes.get(entry.digest, -1) if entry.size else 0):
                raise MalformedState(f"{shown(entry.path)} has no content of its size")
            case Kind.HARDLINK if seen.get(entry.link) is not Kind.FILE:
                raise MalformedState(f"{shown(entry.path)} is a hard link to nothing")
            case Kind.SYMLINK if not entry.link or b"\0" in entry.link:
                raise MalformedState(f"{shown(entry.path)} is a symlink to nothing")
            case _ if entry.kind is not Kind.FILE and entry.size:
                raise MalformedState(f"{shown(entry.path)} has a size")
        seen[entry.path] = entry.kind
