"""The caches that a build looks steps up in: read beside the build, asked when something misses.

Every cache is read by a thread of its own, which begins with the build: one small document. Whoever
asks the first question waits for it. A cache that cannot be read costs a warning.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from lamina.cache.elsewhere import Found
from lamina.cache.index import Record
from lamina.content.store import BlobStore
from lamina.errors import LaminaError
from lamina.layer.stack import Layer
from lamina.oci.digest import Digest
from lamina.remotecache.document import CachedLayer, CacheDocument, CachedStep
from lamina.remotecache.place import CachePlace
from lamina.trace.recorder import Progress, Recorder, Step


class CacheImports:
    """The external caches of a build (`cache.elsewhere.Elsewhere`). Safe for several threads."""

    def __init__(
        self, places: Sequence[CachePlace], *, recorder: Recorder, store: BlobStore
    ) -> None:
        self._imports = [CacheImport(place, recorder) for place in places]
        self._store = store

    def start(self) -> None:
        """Begin to read them all."""
        for each in self._imports:
            each.start()

    def close(self) -> None:
        """Whatever is still being read says nothing more."""
        for each in self._imports:
            each.close()

    def find(self, key: Digest) -> Iterator[Found]:
        for each in self._imports:
            record = each.record(key)
            if record is not None:
                yield Found(record=record, source=each.place.address)

    def nearest(self, locus: str) -> Found | None:
        found = [
            Found(record=record, source=each.place.address)
            for each in self._imports
            if (record := each.nearest(locus)) is not None
        ]
        return max(found, key=lambda one: one.record.created, default=None)

    def memo(self, kind: str, key: bytes) -> bytes | None:
        for each in self._imports:
            value = each.memos().get((kind, key))
            if value is not None:
                return value
        return None

    def addresses(self) -> tuple[str, ...]:
        return tuple(each.place.address for each in self._imports if each.document() is not None)

    def documents(self) -> list[tuple[CachePlace, CacheDocument]]:
        """What was read, in the order of the flags; waits for it."""
        return [
            (each.place, document)
            for each in self._imports
            if (document := each.document()) is not None
        ]

    def reachable(self, layer: Layer) -> bool:
        """Whether the layer's blob is in one of these caches."""
        return self._place_of(layer) is not None

    def fetch(self, layer: Layer, progress: Progress) -> bool:
        """Brings the blob of a layer into the blob store, verified; False if it is not in one of
        these caches. Raises RemoteError and HostError.
        """
        place, blob = self._place_of(layer), layer.blob
        if place is None or blob is None:
            return False
        done = 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            progress(done, blob.size)

        place.connect().fetch(blob, self._store, progress=count)
        return True

    def _place_of(self, layer: Layer) -> CachePlace | None:
        if layer.blob is None or layer.diff_id is None:
            return None
        places = (each.place for each in self._imports)
        return next((place for place in places if place.origin == layer.origin), None)


class CacheImport:
    """One cache, while it is read and afterwards. No method but `start` raises."""

    def __init__(self, place: CachePlace, recorder: Recorder) -> None:
        self.place = place
        self._recorder = recorder
        self._thread = threading.Thread(target=self._read, name="cache-from", daemon=True)
        self._guard = threading.Lock()
        self._closed = False
        self._step: Step | None = None
        self._document: CacheDocument | None = None
        self._steps: dict[Digest, CachedStep] = {}
        self._latest: dict[str, CachedStep] = {}
        self._memos: dict[tuple[str, bytes], bytes] = {}

    def start(self) -> None:
        """Begin to read it."""
        self._thread.start()

    def close(self) -> None:
        """From now on it says nothing; a build that needed nothing of it does not wait for it."""
        with self._guard:
            self._closed = True
        if self._thread.is_alive() and self._step is not None:
            self._step.finish()

    def document(self) -> CacheDocument | None:
        """What was read; None where there was nothing, or the time for it is over."""
        limit = self.place.options.timeout
        self._thread.join(limit)
        if self._thread.is_alive():
            self._warn(f"it was not read within timeout={limit:g}s")
            self.close()
        return self._document

    def record(self, key: Digest) -> Record | None:
        """The record with exactly this key."""
        document = self.document()
        step = self._steps.get(key)
        return None if step is None or document is None else self._record(step, document)

    def nearest(self, locus: str) -> Record | None:
        """The latest record of a step."""
        document = self.document()
        step = self._latest.get(locus)
        return None if step is None or document is None else self._record(step, document)

    def memos(self) -> dict[tuple[str, bytes], bytes]:
        """The memos by kind and key."""
        self.document()
        return self._memos

    def _read(self) -> None:
        place = self.place
        step = self._step = self._recorder.step(f"importing cache manifest from {place.address}")
        try:
            document = place.read(note=self._note)
        except LaminaError as error:
            # No error of the build: it is slower, and that is all.
            step.finish(error=error.message)
            self._warn(error.message)
            return
        step.finish()
        if document is None:
            self._warn("not found")
            return
        with self._guard:
            if not self._closed:
                self._take(document)

    def _take(self, document: CacheDocument) -> None:
        self._steps = {step.key: step for step in document.steps}
        for step in document.steps:
            before = self._latest.get(step.locus)
            if before is None or step.created > before.created:
                self._latest[step.locus] = step
        self._memos = {(memo.kind, memo.key): memo.value for memo in document.memos}
        self._document = document

    def _warn(self, why: str) -> None:
        with self._guard:
            closed = self._closed
        if not closed:
            named = why if self.place.address in why else f"{self.place.address}: {why}"
            self._recorder.warn(f"the cache is not used: {named}")

    def _note(self, text: str) -> None:
        with self._guard:
            closed = self._closed
        if not closed:
            self._recorder.warn(text)

    def _record(self, step: CachedStep, document: CacheDocument) -> Record:
        return Record(
            key=step.key,
            locus=step.locus,
            name=step.name,
            parts=step.parts,
            stack=tuple(self._layer(document.layers[place]) for place in step.layers),
            created=step.created,
            last_used=step.used,
            seconds=step.seconds,
        )

    def _layer(self, layer: CachedLayer) -> Layer:
        if layer.base:
            return Layer(id=layer.id, blob=layer.blob, origin=layer.base)
        return Layer(
            id=layer.id,
            blob=layer.blob,
            origin=self.place.origin,
            diff_id=layer.diff_id,
            created=layer.created,
            size=layer.size,
        )
