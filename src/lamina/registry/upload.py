"""One blob from the store into a registry: in parts, going on where it broke.

    HEAD blob                 there already?
    POST uploads/?mount=…     another repository of the registry lends it: done
    POST uploads/             Location: where to send it
    PATCH Location            a part, Content-Range; again and again     (a small blob: none)
    PUT Location&digest=…     the end                                    (a small blob: all of it)

After a failure `GET Location` tells what has arrived, and the next part begins there. A registry
that does not know the upload any more may have finished it, so the blob is looked for first; then
all begins anew. One that refuses a part altogether is sent everything in one piece, once. (OCI
distribution spec v1.1, "Pushing blobs". CNCF distribution forgets an upload when a part arrives
incompletely before its version 3, so there such a failure costs the blob, not the part.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlencode

from lamina.content.errors import NotFound
from lamina.content.source import CountBytes
from lamina.content.store import BlobStore, host_errors
from lamina.errors import HostError, RemoteError
from lamina.oci.descriptor import Descriptor
from lamina.registry.client import RegistryClient
from lamina.registry.errors import ServerFailed, Unreachable
from lamina.registry.hosts import Place, resolve_address
from lamina.registry.message import PUSH, Answer, Body, Request
from lamina.registry.mount import borrow_blob

PART = 32 << 20
"""Bytes that are sent at once. What is smaller goes in one request."""

_BLOCK = 256 << 10
_MAX_BEGINNINGS = 10
_MAX_PART = 1 << 30
_NOT_THERE = 416
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,20})\Z")


def has_blob(client: RegistryClient, place: Place, descriptor: Descriptor) -> bool:
    """Whether a repository has a blob. Raises as `upload_blob`."""
    request = Request(
        place=place,
        tail=f"blobs/{descriptor.digest}",
        name=f"{place}@{descriptor.digest}",
        method="HEAD",
        actions=PUSH,
    )
    try:
        with client.insist(request) as answer:
            return answer.length in (None, descriptor.size)
    except NotFound:
        return False


def upload_blob(
    client: RegistryClient,
    place: Place,
    descriptor: Descriptor,
    store: BlobStore,
    *,
    lenders: Sequence[str] = (),
    progress: CountBytes | None = None,
    part: int = PART,
    missing: bool = False,
) -> bool:
    """Sends a blob into the repository at `place`; False if it was there already.

    `lenders` are paths of repositories of the same registry that may have it. `missing` spares the
    question for a blob that was asked for a moment ago. Raises Unauthorized,
    Unreachable, TooManyRequests, ServerFailed, or HostError for a blob that cannot be read.
    """
    with client.transfers.moving((place.domain, place.path, descriptor.digest)):
        if not missing and has_blob(client, place, descriptor):
            return False
        upload = _Upload(client, place, descriptor, store, progress or (lambda _: None), part)
        if not any(upload.borrow(lender) for lender in lenders):
            upload.run()
    return True


class _Upload:
    """The state of one upload: where it goes, and how far it got there."""

    def __init__(
        self,
        client: RegistryClient,
        place: Place,
        descriptor: Descriptor,
        store: BlobStore,
        progress: CountBytes,
        part: int,
    ) -> None:
        self._client = client
        self._place = place
        self._descriptor = descriptor
        self._store = store
        self._progress = progress
        self._part = part
        self._name = f"{place}@{descriptor.digest}"
        self._location = ""
        self._offset = 0
        self._told = 0
        self._farthest = 0
        self._beginnings = 0
        self._in_one_piece = False

    def borrow(self, lender: str) -> bool:
        """Whether another repository lends the blob. If not, an upload may have begun."""
        loan = borrow_blob(self._client, self._place, self._descriptor, lender)
        if loan.upload and not loan.lent:
            self._location = loan.upload
            self._beginnings = 1
        return loan.lent

    def run(self) -> None:
        """Sends everything. Raises what another try does not help."""
        backoff = self._client.backoff()
        if not self._location:
            self._begin()
        while True:
            try:
                self._send_rest()
                return
            except RemoteError as error:
                # Of what a broken line took, nobody knows how much arrived; it counts as progress.
                reached = self._told if isinstance(error, Unreachable) else self._offset
                if reached > self._farthest:
                    self._farthest = reached
                    backoff.progressed()
                refused = _is_refusal(error)
                if not refused:
                    backoff.wait(error, alive=lambda: self._progress(0))
                    if not self._in_one_piece and self._look():
                        continue
                if has_blob(self._client, self._place, self._descriptor):
                    self._tell(self._descriptor.size)
                    return
                self._begin_anew(error)

    def _send_rest(self) -> None:
        size = self._descriptor.size
        if self._in_one_piece or (self._offset == 0 and size <= self._part):
            self._finish(self._bytes(0, size))
            return
        while (start := self._offset) < size:
            end = min(start + self._part, size)
            headers = {"Content-Range": f"{start}-{end - 1}"}
            with self._send("PATCH", self._location, self._bytes(start, end), headers) as answer:
                self._take_note(answer, otherwise=end)
            if self._offset <= start:
                raise ServerFailed(f"{self._name}: the registry keeps nothing", retryable=True)
        self._finish(b"")

    def _finish(self, body: bytes | Body) -> None:
        mark = "&" if "?" in self._location else "?"
        query = urlencode({"digest": self._descriptor.digest})
        self._send("PUT", f"{self._location}{mark}{query}", body, {}).close()

    def _send(
        self, method: str, address: str, body: bytes | Body, headers: dict[str, str]
    ) -> Answer:
        every = {"Content-Type": "application/octet-stream", **headers}
        try:
            return self._client.ask(self._request(method, address, body=body, headers=every))
        except ServerFailed as error:
            # Less or more has arrived than we thought, or is still arriving: to be asked again. But
            # of an upload with a single byte CNCF distribution says the same as of an empty one.
            error.retryable = error.retryable or (error.status == _NOT_THERE and self._offset > 0)
            raise

    def _look(self) -> bool:
        """Asks how far the upload got. False if the registry does not know it any more."""
        try:
            with self._client.insist(self._request("GET", self._location)) as answer:
                found = _RANGE.match(answer.header("Range"))
                self._take_note(answer, otherwise=0)
                return found is not None and self._offset <= self._descriptor.size
        except RemoteError as error:
            if _is_refusal(error):
                return False
            raise

    def _begin(self) -> None:
        with self._client.insist(self._request("POST", "blobs/uploads/", body=b"")) as answer:
            self._begun(answer)

    def _begin_anew(self, error: RemoteError) -> None:
        """Raises `error` if that has been tried often enough."""
        refuses_parts = _is_refusal(error) and not (
            isinstance(error, NotFound)
            or (isinstance(error, ServerFailed) and error.status == _NOT_THERE)
        )
        if self._beginnings >= _MAX_BEGINNINGS or (refuses_parts and self._in_one_piece):
            raise error
        self._in_one_piece = self._in_one_piece or refuses_parts
        self._begin()

    def _begun(self, answer: Answer) -> None:
        location = answer.header("Location")
        self._location = resolve_address(answer.url, location) if location else ""
        if not self._location:
            raise ServerFailed(
                f"{self._name}: the registry names no place to upload to", retryable=False
            )
        self._beginnings += 1
        self._offset = 0
        self._tell(0)
        least = answer.header("OCI-Chunk-Min-Length")
        if least.isascii() and least.isdigit() and len(least) <= 20:
            self._part = max(self._part, min(int(least), _MAX_PART))

    def _take_note(self, answer: Answer, *, otherwise: int) -> None:
        """Where the upload goes on, by an answer about it."""
        location = answer.header("Location")
        self._location = (location and resolve_address(answer.url, location)) or self._location
        found = _RANGE.match(answer.header("Range"))
        # `0-0` is also what CNCF distribution says of an empty upload.
        last = int(found[1]) if found else otherwise - 1
        self._offset = last + 1 if last > 0 else 0
        self._tell(self._offset)

    def _bytes(self, start: int, end: int) -> _Bytes:
        return _Bytes(self._store, self._descriptor, start, end, self._tell)

    def _tell(self, at: int) -> None:
        self._progress(at - self._told)
        self._told = at

    def _request(
        self,
        method: str,
        tail: str,
        *,
        body: bytes | Body | None = None,
        headers: dict[str, str] | None = None,
    ) -> Request:
        return Request(
            place=self._place,
            tail=tail,
            name=self._name,
            method=method,
            headers=headers or {},
            body=body,
            actions=PUSH,
        )


class _Bytes:
    """A part of a blob of the store, read as it is sent: every piece lies where the one before it
    lay. `tell` is told how far the sending got."""

    def __init__(
        self,
        store: BlobStore,
        descriptor: Descriptor,
        start: int,
        end: int,
        tell: Callable[[int], None],
    ) -> None:
        self._store = store
        self._descriptor = descriptor
        self._start = start
        self._end = end
        self._tell = tell

    def __len__(self) -> int:
        return self._end - self._start

    def __iter__(self) -> Iterator[memoryview]:
        path = self._store.path(self._descriptor.digest)
        at = self._start
        self._tell(at)
        block = memoryview(bytearray(min(_BLOCK, len(self))))
        with self._store.open(self._descriptor.digest) as file:
            with host_errors(path):
                file.seek(at)
            while at < self._end:
                with host_errors(path):
                    size = file.readinto(block[: self._end - at])
                if not size:
                    raise HostError(
                        f"{path} ends after {at} of {self._descriptor.size} bytes",
                        hint="remove it; it will be fetched or made again",
                    )
                yield block[:size]
                at += size
                self._tell(at)


def _is_refusal(error: RemoteError) -> bool:
    """Whether the registry understood the request and does not want it in this form."""
    if isinstance(error, NotFound):
        return True
    known = isinstance(error, ServerFailed) and error.status not in (None, 413)
    return known and not error.retryable
