"""One blob from a registry into the store: verified as it streams, resumed when it breaks off."""

from __future__ import annotations

import re

from lamina.content.errors import WrongDigest, wrong_size
from lamina.content.source import CountBytes
from lamina.content.store import BlobStore, BlobWriter
from lamina.errors import RemoteError
from lamina.oci.descriptor import Descriptor
from lamina.oci.reference import Reference
from lamina.registry.client import RegistryClient
from lamina.registry.errors import ServerFailed, Unreachable
from lamina.registry.hosts import Place
from lamina.registry.message import Answer, Request

_CHUNK = 256 << 10
_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-\d+/")
_PARTIAL = 206


def fetch_blob(
    client: RegistryClient,
    reference: Reference,
    descriptor: Descriptor,
    store: BlobStore,
    *,
    progress: CountBytes | None = None,
) -> None:
    """Brings a blob of the repository of `reference` into the store, from a mirror or from the
    registry. Does nothing for one that is there. Raises as `download_blob`."""
    if not store.has(descriptor.digest, descriptor.size):
        client.at_first(
            reference,
            lambda place: download_blob(client, place, descriptor, store, progress=progress),
        )


def download_blob(
    client: RegistryClient,
    place: Place,
    descriptor: Descriptor,
    store: BlobStore,
    *,
    progress: CountBytes | None = None,
) -> None:
    """Downloads a blob of the repository at `place`. Threads that want the same one wait for the
    first of them.

    A broken connection is resumed where it broke (RFC 9110, 14), as often as there is progress;
    five failures in a row end it. What was put together from parts and has the wrong digest is
    read once more in one piece. Raises as `RegistrySource.fetch`.
    """
    with client.transfers.moving((str(store.root), descriptor.digest)):
        if store.has(descriptor.digest, descriptor.size):
            return
        with store.writer(descriptor.digest, descriptor.size) as writer:
            _Download(client, place, descriptor, writer, progress or _silent).run()


def _silent(_: int) -> None:
    pass


class _Download:
    """The state of one download: how far it got, and whether it is made of several answers."""

    def __init__(
        self,
        client: RegistryClient,
        place: Place,
        descriptor: Descriptor,
        writer: BlobWriter,
        progress: CountBytes,
    ) -> None:
        self._client = client
        self._place = place
        self._descriptor = descriptor
        self._writer = writer
        self._progress = progress
        self._name = f"{place}@{descriptor.digest}"
        self._in_one_piece = False
        self._resumed = False
        self._farthest = 0

    def run(self) -> None:
        backoff = self._client.backoff()
        while True:
            try:
                self._read_rest()
                self._writer.commit()
                return
            except WrongDigest as error:
                if not self._resumed:
                    raise WrongDigest(f"{self._name}: {error.message}") from None
                self._start_over(in_one_piece=True)
            except RemoteError as error:
                if not self._client.has_answered(self._place.domain):
                    raise
                if self._writer.offset > self._farthest:
                    self._farthest = self._writer.offset
                    backoff.progressed()
                if self._writer.offset and _refuses_ranges(error):
                    self._start_over(in_one_piece=True)
                    continue
                backoff.wait(error, alive=lambda: self._progress(0))

    def _read_rest(self) -> None:
        """Reads what is missing. Raises WrongDigest or another RemoteError."""
        start, size = self._writer.offset, self._descriptor.size
        if start and start == size:
            return
        with self._ask(start) as answer:
            if answer.status == _PARTIAL:
                self._check_range(answer, start)
                self._resumed = self._resumed or start > 0
            else:
                self._start_over(in_one_piece=self._in_one_piece)
                if answer.length not in (None, size):
                    raise wrong_size(expected=size, got=str(answer.length))
            while data := answer.read(_CHUNK):
                self._writer.write(data)
                self._progress(len(data))
        if self._writer.offset < size:
            # Where an answer does not tell its length, a broken connection looks like its end.
            cause = "the answer ended early"
            raise Unreachable(
                f"{self._name}: {cause}", host=self._place.domain, cause=cause, connected=True
            )

    def _ask(self, start: int) -> Answer:
        ranged = {"Range": f"bytes={start}-"} if start and not self._in_one_piece else {}
        return self._client.ask(
            Request(
                place=self._place,
                tail=f"blobs/{self._descriptor.digest}",
                name=self._name,
                headers=ranged,
            )
        )

    def _check_range(self, answer: Answer, start: int) -> None:
        found = _CONTENT_RANGE.match(answer.header("Content-Range"))
        if found is None or int(found[1]) != start:
            raise ServerFailed(
                f"{self._name}: the registry sends another part than asked for",
                retryable=False,
                status=answer.status,
            )

    def _start_over(self, *, in_one_piece: bool) -> None:
        if self._writer.offset:
            self._progress(-self._writer.offset)
            self._writer.restart()
        self._in_one_piece = in_one_piece
        self._resumed = False


def _refuses_ranges(error: RemoteError) -> bool:
    return isinstance(error, ServerFailed) and not error.retryable and error.status is not None
