"""A cache in an object store: one driver for S3, Google Cloud Storage and Azure, through obstore.

    <prefix><manifests prefix>NAME            a document
    <prefix><blobs prefix>sha256:<hex>        a blob

The layout is BuildKit's, so the rules and policies of a bucket fit both. What the stores differ in
(attributes, credentials, addresses) is in `s3`, `gs` and `azblob`.

Workload: a document is one small request. Blobs are streamed: a small one is one request, a large
one is sent in parts and read in one stream that is resumed where it broke.

A blob is written over, not created only where it is missing (If-None-Match): its name is the digest
of its bytes, so two writers write the same, and one that was damaged is healed.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec

from lamina.content.errors import WrongDigest, wrong_digest, wrong_size
from lamina.content.source import CountBytes
from lamina.content.store import BlobStore, BlobWriter
from lamina.errors import RemoteError, UserError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_from, parse_digest
from lamina.registry.retry import Backoff
from lamina.remotecache.encoding import MAX_ENCODED
from lamina.remotecache.errors import UnreadableCache
from lamina.remotecache.object_errors import has_no_bucket, missing, store_failure
from lamina.remotecache.port import DocumentEntry, StoredDocument

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART = 5 << 20
"""Bytes. The smallest part that S3 allows, and so the least memory."""
_MOST_PARTS = 10_000  # of one upload, in S3
_PARTS_AT_ONCE = 4
_CHUNK = 1 << 20
_T = TypeVar("_T")


class ObjectLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Where things lie: what precedes the name of a document, and the digest of a blob."""

    documents: str
    blobs: str

    @classmethod
    def parse(cls, attributes: Mapping[str, str]) -> ObjectLayout:
        prefix = attributes.get("prefix", "")
        return cls(
            documents=prefix + attributes.get("manifests_prefix", "manifests/"),
            blobs=prefix + attributes.get("blobs_prefix", "blobs/"),
        )


class ObjectPlace(msgspec.Struct, frozen=True, kw_only=True):
    """What the attributes of one cache say.

    `documents` are the names that a cache of one document has: it is written under each of them
    and read under the first. `open` connects. `secrets` must not be shown. Blobs older than
    `touch_after` seconds are made to look new when they are of use, None for never.
    """

    address: str
    layout: ObjectLayout
    documents: tuple[str, ...]
    open: Callable[[], ObjectStore]
    secrets: tuple[str, ...] = ()
    uploads: int = 4
    touch_after: float | None = None


class ObjectCache:
    """A reader, writer and cleaner (`lamina.remotecache.port`)."""

    def __init__(self, place: ObjectPlace, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Nothing is asked before something is needed."""
        self.place = place
        self._sleep = sleep
        self._lock = threading.Lock()
        self._opened: ObjectStore | None = None
        self._uploads = threading.BoundedSemaphore(place.uploads)

    @property
    def address(self) -> str:
        return self.place.address

    def names(self, prefix: str) -> Sequence[DocumentEntry]:
        start = self.place.layout.documents
        return [
            DocumentEntry(name=path.removeprefix(start), changed=changed)
            for path, _, changed in self._list(start + prefix)
        ]

    def read(self, name: str) -> StoredDocument | None:
        import obstore

        def get() -> bytes:
            found = obstore.get(self._store, self._document(name))
            if found.meta["size"] > MAX_ENCODED:
                raise UnreadableCache(
                    f"{self.address}: {name!r} is larger than a cache document can be"
                )
            return bytes(found.bytes())

        try:
            data = self._ask(f"reading {name!r}", get)
        except _Missing:
            return None
        return StoredDocument(name=name, data=data)

    def fetch(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        if store.has(blob.digest, blob.size):
            return
        tell = progress or _silent
        with store.writer(blob.digest, blob.size) as writer:
            backoff, farthest = Backoff(sleep=self._sleep), 0
            while True:
                try:
                    self._read_rest(blob, writer, tell)
                    writer.commit()
                    return
                except WrongDigest as error:
                    tell(-writer.offset)
                    raise WrongDigest(f"{self.address}: {blob.digest}: {error.message}") from None
                except RemoteError as error:
                    if writer.offset > farthest:
                        farthest = writer.offset
                        backoff.progressed()
                    backoff.wait(error, alive=lambda: tell(0))

    def has(self, blob: Descriptor) -> bool:
        import obstore

        path = self._blob(blob.digest)
        try:
            found = self._ask(f"looking for {blob.digest}", lambda: obstore.head(self._store, path))
        except _Missing:
            return False
        if found["size"] != blob.size:
            return False
        self._touch(path, age=time.time() - found["last_modified"].timestamp())
        return True

    def push(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        import obstore

        path = self._blob(blob.digest)
        part = max(PART, -(-blob.size // (_MOST_PARTS - 1)))

        def send() -> None:
            with store.open(blob.digest) as file:
                chunks = _verified(file, blob, progress or _silent)
                if blob.size <= part:
                    obstore.put(self._store, path, b"".join(chunks), use_multipart=False)
                    return
                obstore.put(
                    self._store,
                    path,
                    chunks,
                    use_multipart=True,
                    chunk_size=part,
                    max_concurrency=_PARTS_AT_ONCE,
                )

        with self._uploads:
            self._ask(f"sending {blob.digest}", send)

    def write(self, document: StoredDocument) -> None:
        import obstore

        path = self._document(document.name)
        self._ask(
            f"writing {document.name!r}",
            lambda: obstore.put(self._store, path, document.data, use_multipart=False),
        )

    def remove(self, name: str) -> None:
        self._remove(self._document(name))

    def blobs(self) -> Sequence[tuple[Digest, int]]:
        start = self.place.layout.blobs
        found = []
        for path, size, _ in self._list(start):
            try:
                found.append((parse_digest(path.removeprefix(start)), size))
            except UserError:
                continue  # not a blob of a cache
        return found

    def blob_changed(self, digest: Digest) -> float | None:
        """When the blob was written (`lamina.remotecache.pruning.DatedBlobs`)."""
        import obstore

        path = self._blob(digest)
        try:
            found = self._ask(f"looking for {digest}", lambda: obstore.head(self._store, path))
        except _Missing:
            return None
        return found["last_modified"].timestamp()

    def remove_blob(self, digest: Digest) -> None:
        self._remove(self._blob(digest))

    @property
    def _store(self) -> ObjectStore:
        with self._lock:
            if self._opened is None:
                self._opened = self.place.open()
            return self._opened

    def _document(self, name: str) -> str:
        return self.place.layout.documents + name

    def _blob(self, digest: Digest) -> str:
        return self.place.layout.blobs + digest

    def _ask(self, doing: str, ask: Callable[[], _T]) -> _T:
        """Does what obstore is asked for. Raises _Missing, RemoteError or HostError."""
        import obstore.exceptions

        try:
            return ask()
        except FileNotFoundError as error:
            if has_no_bucket(error):
                raise self._failed(doing, error) from None
            raise _Missing from None
        except (obstore.exceptions.BaseError, ValueError, OSError) as error:
            raise self._failed(doing, error) from None

    def _failed(self, doing: str, error: Exception) -> RemoteError:
        place = self.place
        return store_failure(error, doing=doing, address=place.address, secrets=place.secrets)

    def _read_rest(self, blob: Descriptor, writer: BlobWriter, tell: CountBytes) -> None:
        import obstore

        start = writer.offset
        if start and start == blob.size:
            return
        options = {"range": {"offset": start}} if start else None

        def stream() -> None:
            found = obstore.get(self._store, self._blob(blob.digest), options=options)  # type: ignore[arg-type]
            if found.meta["size"] != blob.size:
                raise wrong_size(expected=blob.size, got=str(found.meta["size"]))
            for chunk in found.stream(min_chunk_size=_CHUNK):
                writer.write(memoryview(chunk))
                tell(len(chunk))

        doing = f"fetching {blob.digest}"
        try:
            self._ask(doing, stream)
        except _Missing:
            raise missing(address=self.address, what=blob.digest) from None

    def _list(self, start: str) -> Iterator[tuple[str, int, float]]:
        """Paths that begin with `start`, with sizes and times. obstore itself lists folders."""
        import obstore

        folder = start.rpartition("/")[0] or None
        pages = obstore.list(self._store, folder, chunk_size=1000)
        while page := self._ask("listing", lambda: next(pages, None)):
            for meta in page:
                path = meta["path"]
                if path.startswith(start):
                    yield path, meta["size"], meta["last_modified"].timestamp()

    def _remove(self, path: str) -> None:
        import obstore

        with contextlib.suppress(_Missing):
            self._ask(f"removing {path}", lambda: obstore.delete(self._store, path))

    def _touch(self, path: str, *, age: float) -> None:
        """Keeps a blob that is of use from the rules of a bucket that remove what is old.

        An object cannot be copied onto itself without changing what is kept with it, so it goes
        there and back, inside the store. That is a courtesy: no failure of it matters.
        """
        import obstore.exceptions

        if self.place.touch_after is None or age < self.place.touch_after:
            return
        try:
            obstore.copy(self._store, path, f"{path}.touched")
            obstore.rename(self._store, f"{path}.touched", path)
        except (obstore.exceptions.BaseError, OSError):
            return


class _Missing(Exception):
    """The store has no such object."""


def _silent(_: int) -> None:
    pass


def _verified(file: BinaryIO, blob: Descriptor, tell: CountBytes) -> Iterator[bytes]:
    """The bytes of a blob. Raises WrongDigest at the end of wrong ones, which undoes an upload."""
    seen, digest = 0, hashlib.sha256()
    while chunk := file.read(_CHUNK):
        seen += len(chunk)
        digest.update(chunk)
        yield chunk
        tell(len(chunk))
    found = digest_from(digest.digest())
    if seen != blob.size:
        raise wrong_size(expected=blob.size, got=str(seen))
    if found != blob.digest:
        raise wrong_digest(expected=blob.digest, got=found)
