"""`type=gha`: a cache in the cache service of GitHub Actions.

    lamina-blob-1-sha256:<hex>                     a blob
    lamina-index-<scope>-1-<branch>-NAME#<n>       a document; the newest <n> counts

An entry never changes, so a new state of a document is a new entry. The service shows a job the
entries of its own branch, of its pull request's base and of the default branch, and it writes to
its own. <branch> is a digest of the branch, so that a job can read the documents of all and merge
them. Signed ones it does not merge: they would not say any more what was signed.

A key that is reserved by a job that was killed stays taken for a day. So a blob is also looked for
and saved under its key with `#1` … behind it.

Only the REST API can list and remove: that takes `repository` and `ghtoken`.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec

from lamina.content.errors import NotFound, WrongDigest, wrong_digest, wrong_size
from lamina.content.source import CountBytes
from lamina.content.store import BlobStore, BlobWriter
from lamina.errors import RemoteError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_from, encoded
from lamina.registry.transport import read_body, unreachable
from lamina.remotecache.encoding import MAX_ENCODED, decode, encode
from lamina.remotecache.errors import UnreadableCache
from lamina.remotecache.gha_line import CacheServiceFailed, Line
from lamina.remotecache.gha_protocol import PIECE, CacheService, Found
from lamina.remotecache.gha_rest import RestApi
from lamina.remotecache.merging import merge
from lamina.remotecache.port import DocumentEntry, StoredDocument

_BLOB = "lamina-blob-1-"
_CHUNK = 1 << 20
_TRIES = 16


class GhaPlace(msgspec.Struct, frozen=True, kw_only=True):
    """`branches` are the digests of those that the job can see, the one it writes to first."""

    scope: str
    branches: tuple[str, ...]

    def prefix(self, branch: str) -> str:
        return f"lamina-index-{self.scope}-1-{branch}-"

    def named(self, branch: str, name: str) -> str:
        """How a listing calls a document of that branch."""
        return name if branch == self.branches[0] else f"{name}@{branch}"

    def keys(self, name: str) -> list[str]:
        """What the keys of a document begin with, in the order in which they are looked for."""
        plain, at, branch = name.rpartition("@")
        if at and branch in self.branches:
            return [f"{self.prefix(branch)}{plain}#"]
        return [f"{self.prefix(branch)}{name}#" for branch in self.branches]


class GhaCache:
    """A reader and writer, and with the REST API a cleaner (`lamina.remotecache.port`)."""

    def __init__(
        self, place: GhaPlace, service: CacheService, line: Line, *, rest: RestApi | None
    ) -> None:
        self.place = place
        self._service = service
        self._line = line
        self._rest = rest
        self._lock = threading.Lock()
        self._known: dict[Digest, Found] = {}

    @property
    def address(self) -> str:
        return self._line.address

    def names(self, prefix: str) -> Sequence[DocumentEntry]:
        """Those of other branches have these behind their names: `NAME@<branch>`.

        Without the REST API, only the newest one of every branch is found.
        """
        found: dict[str, DocumentEntry] = {}
        for branch in self.place.branches:
            start = self.place.prefix(branch)
            for key, changed in self._keys(start + prefix):
                name = self.place.named(branch, key.removeprefix(start).rpartition("#")[0])
                found.setdefault(name, DocumentEntry(name=name, changed=changed))
        return tuple(found.values())

    def read(self, name: str) -> StoredDocument | None:
        """Of a name without a branch, what all branches say that the job can see, its own first."""
        data = []
        for start in self.place.keys(name):
            found = self._service.find(start)
            if found is not None:
                data.append(self._download_small(found, name))
        if not data:
            return None
        return StoredDocument(name=name, data=_merged(data, subject=self.address))

    def fetch(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        if store.has(blob.digest, blob.size):
            return
        tell = progress or _silent
        with store.writer(blob.digest, blob.size) as writer:

            def rest() -> None:
                self._read_rest(blob, writer, tell)

            try:
                self._line.patiently(rest)
                writer.commit()
            except WrongDigest as error:
                tell(-writer.offset)
                raise WrongDigest(f"{self.address}: {blob.digest}: {error.message}") from None

    def has(self, blob: Descriptor) -> bool:
        return self._find(blob) is not None

    def push(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        key = _blob_key(blob)
        for number in range(_TRIES):
            with store.open(blob.digest) as file:
                pieces = _pieces(file, blob, progress or _silent)
                if self._service.save(f"{key}#{number}" if number else key, blob.size, pieces):
                    return
            if self._find(blob) is not None:
                return  # another job was faster
        raise RemoteError(f"{self.address}: {key} is reserved by other jobs that do not finish")

    def write(self, document: StoredDocument) -> None:
        """Under the next free number. A number that is taken belongs to a job that writes now."""
        start = self.place.keys(document.name)[0]
        newest = self._service.find(start)
        number = _number(newest.key.removeprefix(start)) if newest else 0
        for _ in range(_TRIES):
            number += 1
            pieces = _cut(document.data)
            if self._service.save(f"{start}{number}", len(document.data), pieces):
                self._remove_older(start, newest=f"{start}{number}")
                return
        raise RemoteError(f"{self.address}: {document.name!r} is written by too many jobs at once")

    def remove(self, name: str) -> None:
        api = self._cleaner()
        for entry in api.entries(self.place.keys(name)[0]):
            api.remove(entry)

    def blobs(self) -> Sequence[tuple[Digest, int]]:
        """None: the service itself removes what was not of use for a week, and a job does not see
        the documents of all branches that may refer to one.
        """
        return ()

    def remove_blob(self, digest: Digest) -> None:
        api = self._cleaner()
        for entry in api.entries(_BLOB + digest):
            api.remove(entry)

    def _cleaner(self) -> RestApi:
        if self._rest is None:
            raise RemoteError(
                f"{self.address}: the cache service lets nobody list and remove entries",
                hint="give repository=OWNER/NAME and ghtoken=TOKEN for GitHub's REST API",
            )
        return self._rest

    def _remove_older(self, start: str, *, newest: str) -> None:
        """What nobody reads any more only takes room, so this may fail."""
        if self._rest is None:
            return
        with contextlib.suppress(RemoteError):
            for entry in self._rest.entries(start):
                if entry.key != newest:
                    self._rest.remove(entry)

    def _keys(self, prefix: str) -> Iterator[tuple[str, float | None]]:
        if self._rest is not None:
            yield from ((entry.key, entry.created) for entry in self._rest.entries(prefix))
            return
        found = self._service.find(prefix)
        if found is not None:
            yield found.key, None

    def _find(self, blob: Descriptor, *, anew: bool = False) -> Found | None:
        with self._lock:
            known = self._known.get(blob.digest)
        if known is not None and not anew:
            return known
        found = self._service.find(_blob_key(blob))
        if found is not None:
            with self._lock:
                self._known[blob.digest] = found
        return found

    def _read_rest(self, blob: Descriptor, writer: BlobWriter, tell: CountBytes) -> None:
        start = writer.offset
        if start and start == blob.size:
            return
        found = self._find(blob)
        if found is None:
            raise NotFound(f"{self.address}: {blob.digest} is not there")
        try:
            self._stream(found, writer, tell, doing=f"fetching {blob.digest}")
        except CacheServiceFailed as error:
            if error.status not in (401, 403):
                raise
            found = self._find(blob, anew=True)  # an address is good for some minutes
            if found is None:
                raise NotFound(f"{self.address}: {blob.digest} is not there") from None
            self._stream(found, writer, tell, doing=f"fetching {blob.digest}")
        if writer.offset < blob.size:
            raise wrong_size(expected=blob.size, got=str(writer.offset))

    def _stream(self, found: Found, writer: BlobWriter, tell: CountBytes, *, doing: str) -> None:
        import urllib3.exceptions

        start = writer.offset
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._line.send(doing, "GET", found.url, headers=headers, body=None)
        if start and response.status != 206:
            tell(-start)
            writer.restart()
        try:
            while data := response.read(_CHUNK):
                writer.write(data)
                tell(len(data))
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            response.close()
            raise unreachable(found.url, error) from None

    def _download_small(self, found: Found, name: str) -> bytes:
        def once() -> bytes:
            response = self._line.send(f"reading {name!r}", "GET", found.url, headers={}, body=None)
            return read_body(response, url=found.url, limit=MAX_ENCODED + 1)

        data = self._line.patiently(once)
        if len(data) > MAX_ENCODED:
            raise UnreadableCache(
                f"{self.address}: {name!r} is larger than a cache document can be"
            )
        return data


def _merged(data: list[bytes], *, subject: str) -> bytes:
    """The document that says what all say; the first alone where they cannot be merged."""
    if len(data) == 1:
        return data[0]
    try:
        documents = [decode(each, subject=subject) for each in data]
    except UnreadableCache:
        return data[0]
    if any(each.signature for document in documents for each in document.steps):
        return data[0]
    return encode(merge(documents))


def _blob_key(blob: Descriptor) -> str:
    return _BLOB + blob.digest


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[start : start + PIECE] for start in range(0, len(data), PIECE))


def _pieces(file: BinaryIO, blob: Descriptor, tell: CountBytes) -> Iterator[bytes]:
    """The blob's bytes, checked at the end, so that a wrong one is never finished."""
    seen, digest = 0, hashlib.sha256()
    while piece := file.read(PIECE):
        seen += len(piece)
        digest.update(piece)
        yield piece
        tell(len(piece))
    if seen != blob.size:
        raise wrong_size(expected=blob.size, got=str(seen))
    if digest.hexdigest() != encoded(blob.digest):
        raise wrong_digest(expected=blob.digest, got=digest_from(digest.digest()))


def _silent(_: int) -> None:
    pass
