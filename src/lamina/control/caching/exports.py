"""The caches that a build writes. What has succeeded does not fail any more for their sake, unless
`ignore-error=false` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from lamina.cache.index import Record
from lamina.control.store import Store
from lamina.errors import HostError, LaminaError, RemoteError
from lamina.exporter.blobs import LayerBlobs, as_it_came
from lamina.exporter.image import BuiltImage
from lamina.exporter.options import LayerForm
from lamina.layer.stack import Layer
from lamina.oci.descriptor import Descriptor
from lamina.ops.stacks import Stacks
from lamina.remotecache.composing import Built, compose
from lamina.remotecache.document import CachedLayer, CacheDocument
from lamina.remotecache.inline import inlined
from lamina.remotecache.local import LocalCache
from lamina.remotecache.options import CacheForm
from lamina.remotecache.place import CachePlace
from lamina.remotecache.writing import CacheExport, SaveMounts, Sent
from lamina.trace.recorder import Recorder, Step

SaverOf = Callable[[CachePlace, Step], SaveMounts | None]
"""What saves the cache mounts that a place wants; None where it wants none."""
_NAMES = {"local": "client directory"}


class LayersOf(msgspec.Struct, frozen=True, kw_only=True):
    """The blobs of this build's layers in one form (`remotecache.writing.BuiltLayers`)."""

    store: Store
    blobs: LayerBlobs
    form: LayerForm
    stacks: Stacks

    def foreseen(self, layer: Layer) -> Descriptor | None:
        if self.store.layers.has(layer.id):
            known = self.blobs.foreseen(Layer(id=layer.id), self.form)
            return None if known is None else known.descriptor
        distant = self._distant(layer)
        if distant is None or distant.blob is None:
            return None
        kept = as_it_came(distant.blob, docker_types=False)
        wanted = self.form.compression.media_type()
        return None if self.form.force and kept.media_type != wanted else kept

    def blob(self, layer: Layer) -> Descriptor | None:
        if not self.store.layers.has(layer.id):
            distant = self._distant(layer)
            if distant is None:
                return None
            kept = self.foreseen(layer)
            try:
                if kept is not None:
                    self.stacks.fetch(distant, lambda done, total: None)
                    return kept
                self.stacks.ensure((distant,))
            except (RemoteError, HostError) as error:
                self.stacks.lose(distant, error)  # a warning; the others are still worth sending
                return None
        return self.blobs.blob(Layer(id=layer.id), self.form).descriptor

    def facts(self, layer: Layer) -> CachedLayer | None:
        if layer.pulled:
            assert layer.blob is not None
            blob = as_it_came(layer.blob, docker_types=False)
            base = layer.origin or "base image"
            return CachedLayer(id=layer.id, diff_id=layer.id, blob=blob, base=base)
        if self.store.layers.has(layer.id):
            plain = self.blobs.plain(Layer(id=layer.id))
            made = self.store.layers.made_at(layer.id)
            return CachedLayer(id=layer.id, diff_id=plain.digest, created=made, size=plain.size)
        distant = layer if layer.diff_id is not None else self.store.index.foreign(layer.id)
        if distant is None or distant.diff_id is None:
            return None
        return CachedLayer(
            id=layer.id,
            diff_id=distant.diff_id,
            created=distant.created or 0.0,
            size=distant.size,
        )

    def _distant(self, layer: Layer) -> Layer | None:
        """The layer with the blob that another cache has, if there is one."""
        if layer.blob is not None:
            return layer
        return self.store.index.foreign(layer.id)


class CacheExports:
    """All `--cache-to` of a build."""

    def __init__(
        self,
        places: Sequence[CachePlace],
        *,
        store: Store,
        recorder: Recorder,
        blobs: LayerBlobs,
        stacks: Stacks,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._layers = LayersOf(store=store, blobs=blobs, form=LayerForm(), stacks=stacks)
        self._exports = [
            _Export(place, self._in_form(place.options.form), store, recorder) for place in places
        ]

    def offer(self, record: Record) -> None:
        """A step has been made: what is wanted for sure may be sent while others run."""
        for each in self._exports:
            each.sending.offer(record)

    def inlined(self, image: BuiltImage, built: Built, *, epoch: int | None) -> BuiltImage:
        """The image with its cache in its configuration. Nothing in that depends on when or how
        fast it was built, so far as the image itself does not.
        """
        document = compose(
            built, CacheDocument(), blobs={}, facts=self._layers.facts, states=(), now=0.0
        )
        steps = tuple(replace(step, seconds=0.0, created=0.0) for step in document.steps)
        layers = document.layers
        if epoch is not None:
            layers = tuple(replace(each, created=min(each.created, epoch)) for each in layers)
        document = replace(document, steps=steps, layers=layers)
        ids = [layer.id for layer in image.stack]
        return replace(image, config=inlined(image.config, document, ids))

    def finish(self, built: Built, *, saver_of: SaverOf) -> None:
        """Writes them all. Raises what went wrong with one that has `ignore-error=false`."""
        for each in self._exports:
            each.finish(built, saver_of)

    def close(self) -> None:
        """Gives up what is still being sent."""
        for each in self._exports:
            each.sending.close()

    def _in_form(self, form: CacheForm) -> LayersOf:
        return replace(
            self._layers,
            form=LayerForm(compression=form.compression, level=form.level, force=form.force),
        )


class _Export:
    """One `--cache-to`, with the step of the trace that tells of it."""

    def __init__(
        self, place: CachePlace, layers: LayersOf, store: Store, recorder: Recorder
    ) -> None:
        self._place = place
        self._recorder = recorder
        self._step: Step | None = None
        self.sending = CacheExport(place, layers, store.blobs, note=self._note, tell=self._tell)

    def finish(self, built: Built, saver_of: SaverOf) -> None:
        place = self._place
        name = _NAMES.get(place.kind, place.kind)
        step = self._step = self._recorder.step(f"exporting cache to {name}")
        try:
            sent = self.sending.finish(built, save_mounts=saver_of(place, step))
            self._reset()
        except LaminaError as error:
            step.finish(error=error.message)
            named = error.message if place.address in error.message else f"{place.address}: {error}"
            error.message = f"the cache was not exported: {named}"
            if not place.options.ignore_error:
                raise
            self._recorder.warn(error.message)
            return
        except BaseException as error:
            step.finish(error=str(error) or type(error).__name__)
            raise
        finally:
            self.sending.close()
        step.note(_told(sent, place.address))
        step.finish()

    def _reset(self) -> None:
        cache = self._place.connect()
        if self._place.reset and isinstance(cache, LocalCache):
            cache.reset()

    def _note(self, text: str) -> None:
        self._recorder.warn(text)

    def _tell(self, what: str, now: int, total: int) -> None:
        if self._step is not None:
            self._step.progress(what, now, total, done=now == total)


def _told(sent: Sent, address: str) -> str:
    if not sent.changed:
        return f"{address} says all of it already: nothing was written"
    blobs = "1 layer" if sent.blobs == 1 else f"{sent.blobs} layers"
    return f"{address}: {blobs} sent, {sent.size} bytes"
