"""The archive of a root file system becomes a layer, as if it had been pulled."""

from __future__ import annotations

from typing import Protocol

import msgspec

from lamina.content.compression import Compression, compressor
from lamina.content.decompression import sniff
from lamina.content.store import BlobWriter
from lamina.context.archive import is_compressed, open_archive
from lamina.control.store import Store
from lamina.errors import UserError
from lamina.fs.streams import Peeked, Source
from lamina.layer.entry import Manifest
from lamina.layer.stack import Layer
from lamina.layer.unpack import Unpacked, unpack
from lamina.oci.descriptor import Descriptor

_PIECE = 1 << 20
_HEAD = 6


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Rootfs(msgspec.Struct, frozen=True, kw_only=True):
    """The layer, unpacked in the store, and what is in it."""

    layer: Layer
    manifest: Manifest


def take_rootfs(stream: Source, store: Store, *, name: str) -> Rootfs:
    """Unpacks an archive in one pass, and keeps its bytes as the layer's blob.

    They are kept as they are if images know their compression (none, gzip, zstd), else compressed
    with gzip. Raises UserError for what is no tar archive, or holds what must not be in a layer.
    """
    peeked = Peeked(stream)
    head = peeked.peek(_HEAD)
    kind = sniff(head)
    with store.blobs.writer() as blob, store.layers.work() as work:
        if kind is None and is_compressed(head):
            kind = Compression.GZIP
            unpacked = _compressed_anew(peeked, blob, work.diff, name=name)
        else:
            kind = kind or Compression.UNCOMPRESSED
            unpacked = _as_it_is(peeked, blob, work.diff, name=name)
        store.layers.publish(work, unpacked.manifest, id=unpacked.diff_id)
        digest = blob.commit()
    descriptor = Descriptor(media_type=kind.media_type(), digest=digest, size=blob.offset)
    return Rootfs(layer=Layer(id=unpacked.diff_id, blob=descriptor), manifest=unpacked.manifest)


def _as_it_is(stream: Peeked, blob: BlobWriter, directory: str, *, name: str) -> Unpacked:
    raw = Peeked(_Copying(stream, blob))
    unpacked = unpack(_plain(raw, name), directory)
    while raw.read(_PIECE):
        pass  # what follows the archive is a part of the blob
    return unpacked


def _compressed_anew(stream: Peeked, blob: BlobWriter, directory: str, *, name: str) -> Unpacked:
    with compressor(Compression.GZIP, blob) as compressed:
        return unpack(_Copying(_plain(stream, name), compressed), directory)


def _plain(stream: Peeked, name: str) -> Source:
    plain = open_archive(stream)
    if plain is None:
        raise UserError(
            f"{name} is no tar archive",
            hint="give a root file system as a tar (also .gz, .zst, .xz or .bz2)",
        )
    return plain


class _Copying:
    """Hands every byte that is read to somebody else, too."""

    def __init__(self, source: Source, sink: _Sink) -> None:
        self._source = source
        self._sink = sink

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._sink.write(data)
        return data
