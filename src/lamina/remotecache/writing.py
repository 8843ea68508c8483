"""Exporting a cache: only what the other side lacks, and nothing at all where nothing has changed.

    records of the build ──▶ which layers are wanted ──▶ blobs that are missing there ──▶ document
                              mode, min-cost              has, borrow, or make and send

What is there already is read first. A layer whose blob it names is not looked for, a step that it
knows keeps its times, so a cache that says the same stays as it is, byte for byte.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from lamina.cache.index import Record
from lamina.content.store import BlobStore
from lamina.layer.stack import Layer
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.remotecache.composing import Built, compose, wanted
from lamina.remotecache.document import CachedLayer, CacheDocument, MountState
from lamina.remotecache.errors import ExportTimedOut, NotACache, UnreadableCache
from lamina.remotecache.layouts import (
    Entry,
    Note,
    put_document,
    read_scope,
    read_single,
    write_entry,
)
from lamina.remotecache.merging import merge
from lamina.remotecache.options import Mode
from lamina.remotecache.place import CachePlace
from lamina.remotecache.port import CacheBorrower, CacheWriter

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_AT_ONCE: Final = 4


class BuiltLayers(Protocol):
    """Gives the blobs of layers. Safe for several threads."""

    def foreseen(self, layer: Layer) -> Descriptor | None:
        """What `blob` will give, where that is known without making or fetching it."""
        ...

    def blob(self, layer: Layer) -> Descriptor | None:
        """The layer as a blob that lies in the blob store; None where it can no longer be had."""
        ...

    def facts(self, layer: Layer) -> CachedLayer | None:
        """What a document says of a layer, without its blob; None where nobody knows any more."""
        ...


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What an export did: blobs that were sent, their bytes, and whether the document changed."""

    blobs: int
    size: int
    changed: bool


Tell = Callable[[str, int, int], None]
"""Takes the progress of one thing: its name, bytes so far, bytes in all."""
SaveMounts = Callable[[CacheWriter, Sequence[MountState]], Sequence[MountState]]
"""Sends the cache mounts and says what they are now, given what the cache had of them."""


class CacheExport:
    """One `--cache-to` of a build. `offer` may be called while the build runs, `finish` ends it."""

    def __init__(
        self,
        place: CachePlace,
        layers: BuiltLayers,
        store: BlobStore,
        *,
        note: Note,
        tell: Tell,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place = place
        self._layers = layers
        self._store = store
        self._note = note
        self._tell = tell
        self._now = clock()
        self._deadline: float | None = None
        self._guard = threading.Lock()
        self._sending: dict[Digest, Future[Descriptor | None]] = {}
        self._sent: list[int] = []

    def offer(self, record: Record) -> None:
        """Begins to send what a step has just made, if it will be wanted for sure."""
        options = self._place.options
        if not options.background or options.mode is not Mode.MAX or not record.stack:
            return
        if record.seconds >= options.min_cost and not record.stack[-1].pulled:
            self._send_soon(record.stack[-1])

    def finish(self, built: Built, *, save_mounts: SaveMounts | None = None) -> Sent:
        """Sends what is missing and publishes the document.

        Raises RemoteError, HostError and UserError (a key that cannot sign). Where the time is
        over, what was sent by then is published.
        """
        options = self._place.options
        if options.timeout is not None:
            self._deadline = time.monotonic() + options.timeout
        states = self._old.mounts
        if save_mounts is not None:
            states = tuple(save_mounts(self._writer, states))
        blobs = self._blobs(built)
        document = compose(
            built, self._old, blobs=blobs, facts=self._layers.facts, states=states, now=self._now
        )
        return Sent(blobs=len(self._sent), size=sum(self._sent), changed=self._publish(document))

    def close(self) -> None:
        """Ends the threads; what is being sent is given up."""
        self._deadline = 0.0
        if "_pool" in self.__dict__:
            self._pool.shutdown(cancel_futures=True)

    @cached_property
    def _writer(self) -> CacheWriter:
        return self._place.connect()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(_AT_ONCE, "cache-to")

    @cached_property
    def _entries(self) -> list[Entry]:
        """What is there now; something unreadable is replaced as if it were nothing."""
        records = self._place.records
        if records is not None:
            return read_scope(self._writer, records, records.scopes[0], note=self._note)
        try:
            name = self._place.documents[0]
            found = read_single(self._writer, name, subject=self._place.address)
        except (UnreadableCache, NotACache):
            return []
        return [] if found is None else [found]

    @cached_property
    def _signer(self) -> Signer | None:
        path = self._place.options.sign
        return Signer.load(path) if path else None

    @cached_property
    def _old(self) -> CacheDocument:
        """What is there now. Whoever signs goes on only from what was signed with the same key:
        the rest may be anybody's, and would be believed with the signature.
        """
        signer = self._signer
        with self._guard:
            found = [entry.document for entry in self._entries]
            return merge(found if signer is None else [signer.trusted(one) for one in found])

    @cached_property
    def _known(self) -> dict[Digest, CachedLayer]:
        """The layers that are there, with their blobs."""
        return {layer.id: layer for layer in self._old.layers if layer.blob is not None}

    def _blobs(self, built: Built) -> dict[Digest, Descriptor]:
        """The blobs of all layers that are wanted, sent where they were missing."""
        for layer in wanted(built, self._place.options):
            self._send_soon(layer)
        found: dict[Digest, Descriptor] = {}
        late = 0
        for layer_id, sending in self._sending.items():
            try:
                blob = sending.result()
            except ExportTimedOut:
                late += 1
                continue
            if blob is not None:
                found[layer_id] = blob
        if late:
            limit = self._place.options.timeout
            self._note(f"{late} layers were not sent within timeout={limit:g}s")
        return found

    def _send_soon(self, layer: Layer) -> None:
        with self._guard:
            if layer.id not in self._sending:
                self._sending[layer.id] = self._pool.submit(self._send, layer)

    def _send(self, layer: Layer) -> Descriptor | None:
        """The layer's blob, which is there at the end; None for a layer that cannot be had."""
        self._check_time()
        known = self._known.get(layer.id)
        if known is not None and self._is_fine(known):
            return known.blob
        foreseen = self._layers.foreseen(layer)
        if foreseen is not None and self._is_there(foreseen):
            return foreseen
        blob = self._layers.blob(layer)
        if blob is None:
            return None
        if blob != foreseen and self._is_there(blob):
            return blob
        self._push(blob)
        return blob

    def _is_fine(self, known: CachedLayer) -> bool:
        """Whether a blob that is there has the wanted form."""
        form = self._place.options.form
        assert known.blob is not None
        return not form.force or known.blob.media_type == form.compression.media_type()

    def _is_there(self, blob: Descriptor) -> bool:
        writer = self._writer
        if writer.has(blob):
            return True
        return isinstance(writer, CacheBorrower) and writer.borrow(blob)

    def _push(self, blob: Descriptor) -> None:
        what, done = f"writing layer {blob.digest}", 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            self._check_time()
            self._tell(what, done, blob.size)

        self._tell(what, 0, blob.size)
        self._writer.push(blob, self._store, progress=count)
        self._tell(what, blob.size, blob.size)
        self._sent.append(blob.size)

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise ExportTimedOut(f"{self._place.address}: the time for the export is over")

    def _publish(self, document: CacheDocument) -> bool:
        """Whether there was anything new to be written."""
        place, records, signer = self._place, self._place.records, self._signer
        sign = signer.sign if signer is not None else _unsigned
        if records is not None:
            # An entry that others have signed is left to them, and not made a part of a larger one.
            entries = [e for e in self._entries if signer is None or signer.has_signed(e.document)]
            return write_entry(self._writer, records, document, entries, note=self._note, sign=sign)
        document = sign(document)
        if [entry.document for entry in self._entries] == [document]:
            return False
        for name in place.documents:
            put_document(self._writer, name, document)
        return True


class Signer:
    """Signs documents with one key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.key = key

    @classmethod
    def load(cls, path: str) -> Signer:
        """Raises UserError."""
        from lamina.remotecache.signing import load_signing_key

        return cls(load_signing_key(path))

    def sign(self, document: CacheDocument) -> CacheDocument:
        from lamina.remotecache.signing import signed

        return signed(document, self.key)

    def trusted(self, document: CacheDocument) -> CacheDocument:
        """What of a document was signed with this key."""
        from lamina.remotecache.signing import verified

        return verified(document, (self.key.public_key(),))[0]

    def has_signed(self, document: CacheDocument) -> bool:
        """Whether everything that the document says was signed with this key."""
        from lamina.remotecache.signing import MEMO_KIND, verified

        trusted, dropped = verified(document, (self.key.public_key(),))
        plain = [memo for memo in document.memos if memo.kind != MEMO_KIND]
        return not dropped and len(trusted.memos) == len(plain)


def _unsigned(document: CacheDocument) -> CacheDocument:
    return document
