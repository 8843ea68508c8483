"""Sending images to registries: blobs in parallel while others are still being made, each once,
then the manifests, the top one last.

    layers ──make──▶ blobs ──┐ HEAD, mount, or send      ┌──▶ child manifests ──▶ the name
    config ──────────────────┴───────────────────────────┘

What a repository has is not sent, what another repository of the registry has is mounted from it,
and a layer that was never downloaded is fetched only where neither helps.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

import msgspec

from lamina.content.store import BlobStore
from lamina.content.target import ImageTarget
from lamina.errors import RemoteError, UserError
from lamina.exporter.meter import Meter, OutputProgress
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.oci.reference import Reference, parse_reference

UPLOADS = 5
"""Blobs that are sent at once: as many as Docker sends."""

_DOCUMENTS = mediatype.MANIFESTS | mediatype.INDEXES


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """What a push sends, besides the blobs that were added before.

    `manifests` are in the order in which they refer to each other, the one that gets the names
    last. `blobs` may hold manifests too, which do not count.
    """

    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...] = ()


class Stopped(Exception):
    """Another upload failed, or the user interrupts."""


class Upload:
    """One push, to all repositories of `names`. A context manager: leaving it by an error stops
    what is under way. Safe for several threads.
    """

    def __init__(self, target: ImageTarget, content: BlobStore, names: Sequence[Reference]) -> None:
        self._target = target
        self._content = content
        self._names = tuple(names)
        # One name stands for each repository.
        self._places = tuple({name.repository: name for name in names}.values())
        self._pool = ThreadPoolExecutor(UPLOADS, "push")
        self._sent: dict[Digest, Future[None]] = {}
        self._total = 0
        self._done = 0
        self._meter: Meter | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stopped.set()
        self._pool.shutdown(cancel_futures=kind is not None)

    def add(
        self, blob: Descriptor, *, origin: str = "", bring: Callable[[], object] | None = None
    ) -> None:
        """Starts to send a blob. `origin` is the image that it came with (`repository@digest`),
        and `bring` puts it into the blob store, where it may be missing.
        """
        with self._lock:
            if blob.digest in self._sent:
                return
            self._total += blob.size * len(self._places)
            self._sent[blob.digest] = self._pool.submit(self._send, blob, origin, bring)

    def go_on(self) -> None:
        """Raises Stopped where an upload has failed: what is being made is made in vain."""
        if self._stopped.is_set():
            raise Stopped

    def stop(self) -> None:
        """Uploads end as soon as they can."""
        self._stopped.set()

    def finish(self, shipment: Shipment, progress: OutputProgress) -> None:
        """Waits for the blobs, and sends the manifests. Raises RemoteError."""
        for blob in shipment.blobs:
            if blob.media_type not in _DOCUMENTS:
                self.add(blob)
        with self._lock:
            meter = Meter(progress, "pushing layers", self._total)
        with meter:
            self._attach(meter)
            self.wait()
        *children, top = shipment.manifests
        for place in self._places:
            for child in children:
                self._put(_untagged(place), child)
        for name in self._names:
            shown = msgspec.structs.replace(name, digest=top.digest)
            with Meter(progress, f"pushing manifest for {shown}"):
                self._put(name, top)

    def wait(self) -> None:
        """Raises the first error of any upload; the others stop."""
        finished, _ = wait(self._sent.values(), return_when=FIRST_EXCEPTION)
        if all(one.exception() is None for one in finished):
            return
        self._pool.shutdown(cancel_futures=True)
        errors = [one.exception() for one in self._sent.values() if not one.cancelled()]
        raise next(one for one in errors if one is not None and not isinstance(one, Stopped))

    def _send(self, blob: Descriptor, origin: str, bring: Callable[[], object] | None) -> None:
        """To every repository, one after the other: the second can borrow it from the first."""
        held = _repository(origin)
        try:
            for place in self._places:
                self.go_on()
                lenders = [
                    one
                    for one in held
                    if one.domain == place.domain and one.repository != place.repository
                ]
                with _naming(place):
                    self._place(blob, place, lenders, bring)
                held.append(_untagged(place))
        except BaseException:
            self._stopped.set()
            raise

    def _place(
        self,
        blob: Descriptor,
        place: Reference,
        lenders: Sequence[Reference],
        bring: Callable[[], object] | None,
    ) -> None:
        if bring is not None and not self._content.has(blob.digest, blob.size):
            if self._target.has_blob(place, blob) or self._target.mount_blob(place, blob, lenders):
                self._count(blob.size)
                return
            bring()
        sent = 0

        def count(more: int) -> None:
            nonlocal sent
            self.go_on()
            sent += more
            self._count(more)

        self._target.push_blob(place, blob, self._content, mount_from=lenders, progress=count)
        self._count(blob.size - sent)  # what was there, or was mounted

    def _put(self, name: Reference, document: Descriptor) -> None:
        data = self._content.read(document.digest)
        with _naming(name):
            self._target.push_manifest(name, data, document.media_type)

    def _count(self, more: int) -> None:
        with self._lock:
            self._done += more
            meter = self._meter
        if meter is not None and more:
            meter.advance(more)

    def _attach(self, meter: Meter) -> None:
        """From now on the meter is told; what was sent before, at once."""
        with self._lock:
            self._meter, done = meter, self._done
        if done:
            meter.advance(done)


def _repository(origin: str) -> list[Reference]:
    """The repository of an image; none for what is no registry's (a layout, an external cache)."""
    if not origin or "://" in origin:
        return []
    try:
        return [_untagged(parse_reference(origin))]
    except UserError:
        return []


def _untagged(name: Reference) -> Reference:
    return Reference(domain=name.domain, path=name.path)


@contextlib.contextmanager
def _naming(name: Reference) -> Iterator[None]:
    """Says of an error what could not be done."""
    try:
        yield
    except RemoteError as error:
        error.message = f"failed to push {name}: {error.message}"
        error.args = (error.message,)
        raise
