"""States as blobs: a manifest is stored whole, or as the difference from one that was.

    state ── manifest ──▶ whole                 state ── manifest ──▶ difference
          └─ packs                                    ├─ packs                │
                                                      └─ whole ◀──────────────┘

A manifest has some 75 bytes a file, most of them digests, which no compressor makes smaller: for
ten thousand files it is larger than the package that was added. As a difference it has some
hundred bytes. A difference is never based on another one, so at most two blobs are read.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lamina.content.store import BlobStore
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.remotecache.document import MountState
from lamina.remotecache.mounts.manifest import (
    MAX_PLAIN,
    MAX_STORED,
    MEDIA_TYPE,
    PACK_MEDIA_TYPE,
    MalformedState,
    MountManifest,
    decode,
    deflated,
    encode,
    inflated,
)
from lamina.remotecache.port import CacheReader

_WORTH: Final = 4  # so many times smaller is a difference, or the manifest is stored whole


class LoadedState(msgspec.Struct, frozen=True, kw_only=True):
    """A state that was read. `whole` is the blob of a whole manifest, which may be another one than
    the state's, and `plain` what is in it, decompressed.
    """

    manifest: MountManifest
    whole: Descriptor
    plain: bytes


class StoredManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The blob of a manifest, and the whole one that it is a difference from, if it is one."""

    blob: Descriptor
    base: tuple[Descriptor, ...] = ()


def load(state: MountState, reader: CacheReader, documents: BlobStore) -> LoadedState:
    """Reads a state's manifest. Raises MalformedState, RemoteError and HostError."""
    whole, plain = state.manifest, b""
    for blob in state.packs:
        if blob.media_type == MEDIA_TYPE:
            whole, plain = blob, inflated(_read(blob, reader, documents), MAX_PLAIN)
    data = inflated(_read(state.manifest, reader, documents), MAX_PLAIN, base=plain)
    packs = frozenset[Digest](
        blob.digest for blob in state.packs if blob.media_type == PACK_MEDIA_TYPE
    )
    return LoadedState(manifest=decode(data, packs=packs), whole=whole, plain=plain or data)


def store(
    manifest: MountManifest, earlier: LoadedState | None, documents: BlobStore
) -> StoredManifest:
    """Puts a manifest into `documents`: as the difference from the earlier one if that is much
    smaller. Raises MalformedState for one that is too large, and HostError.
    """
    plain = encode(manifest)
    if earlier is not None:
        data = deflated(plain, base=earlier.plain)
        if len(data) * _WORTH < earlier.whole.size:
            return StoredManifest(blob=_put(data, documents), base=(earlier.whole,))
    data = deflated(plain)
    if len(data) > MAX_STORED:
        raise MalformedState("it has too many files")
    return StoredManifest(blob=_put(data, documents))


def _put(data: bytes, documents: BlobStore) -> Descriptor:
    return Descriptor(media_type=MEDIA_TYPE, digest=documents.put(data), size=len(data))


def _read(blob: Descriptor, reader: CacheReader, documents: BlobStore) -> bytes:
    if blob.size > MAX_STORED:
        raise MalformedState(f"its manifest is larger than {MAX_STORED} bytes")
    reader.fetch(blob, documents)
    return documents.read(blob.digest, limit=MAX_STORED)
