"""What a cache backend is: a place for blobs by digest, and for small documents by name.

A document tells which steps are known and what their layers are (`lamina.remotecache.document`); a
backend does not look into it. The blobs that a document refers to are named beside it, so that a
place with a garbage collector of its own (a registry) keeps them as long as the document.

    read ──document──▶ records, layers, cache mounts          one small request
    fetch ──blob──▶ blob store                                only for what is really needed

The roles are apart because few places can do everything: a pull request may read only, a cache
service lets nobody remove.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from lamina.content.source import CountBytes
from lamina.content.store import BlobStore
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest


class StoredDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it lies in a backend. `data` is what `document.encode` made, verified by the
    backend where it has a digest for it. `blobs` are those it refers to, in the backend's own
    repository.
    """

    name: str
    data: bytes
    blobs: tuple[Descriptor, ...] = ()


class DocumentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A document in a listing. `changed` in seconds since 1970, None where nobody knows."""

    name: str
    changed: float | None = None


class CacheReader(Protocol):
    """A place to read from. All methods raise RemoteError or HostError; safe for several
    threads."""

    @property
    def address(self) -> str:
        """What messages call it (`registry.example/app:buildcache`, `s3://bucket/prefix`)."""
        ...

    def names(self, prefix: str) -> Sequence[DocumentEntry]:
        """The documents whose names begin with `prefix`."""
        ...

    def read(self, name: str) -> StoredDocument | None:
        """A document; None where there is none of that name."""
        ...

    def fetch(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        """Brings a blob into the store, verified; does nothing for one that is there."""
        ...


class CacheWriter(CacheReader, Protocol):
    """A place to write to, too."""

    def has(self, blob: Descriptor) -> bool:
        """Whether the blob is there already."""
        ...

    def push(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        """Sends a blob that lies in `store`."""
        ...

    def write(self, document: StoredDocument) -> None:
        """Publishes a document, replacing one of that name. Its blobs are there already."""
        ...


@runtime_checkable
class CacheCleaner(CacheReader, Protocol):
    """A place that can be cleaned."""

    def remove(self, name: str) -> None:
        """Removes a document. Blobs stay. Does nothing where there is none."""
        ...

    def blobs(self) -> Sequence[tuple[Digest, int]]:
        """Every blob that can be removed by itself, with its size in bytes; none where the place
        collects garbage itself."""
        ...

    def remove_blob(self, digest: Digest) -> None:
        """Removes a blob that no document needs."""
        ...


@runtime_checkable
class CacheBorrower(Protocol):
    """A place that can take blobs over from a neighbour, without moving them."""

    def borrow(self, blob: Descriptor) -> bool:
        """Whether a neighbour had the blob, and it is here now."""
        ...
