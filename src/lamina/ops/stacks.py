"""Stacks of layers as files: what is there, and what must be fetched and unpacked first.

Nothing is pulled before something needs it. What a base image's layers hold is needed when a step
runs on them or is copied onto them, never for a step that is cached.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from lamina.content.decompression import decompressing_reader
from lamina.content.errors import MalformedImage, WrongDigest
from lamina.content.store import BlobStore
from lamina.errors import HostError, RemoteError
from lamina.fs.lock import locked
from lamina.layer.entry import Manifest
from lamina.layer.stack import Layer, LayerLost, Stack
from lamina.oci.digest import Digest, digest_from, encoded
from lamina.snapshot.store import LayerStore, WorkDir
from lamina.snapshot.view import View
from lamina.trace.recorder import Progress, Recorder, Step

if TYPE_CHECKING:
    from lamina.layer.unpack import Unpacked

_PACKED = 3  # times smaller than its files is a blob, mostly
_MOST_PACKED = 1000  # times, with gzip at its best
EMPTY_LAYER = Manifest(entries=()).identity()

Fetch = Callable[[Layer, Progress], None]
"""Brings the blob of a layer into the blob store, verified; may do nothing where it is there."""


def identity(stack: Stack) -> Digest:
    """The digest that stands for the tree of a stack. Layers that change nothing do not count."""
    ids = [encoded(layer.id) for layer in stack if layer.id != EMPTY_LAYER]
    return digest_from(hashlib.sha256("\n".join(["lamina stack 1", *ids]).encode()).digest())


def _nowhere(layer: Layer) -> bool:
    return False


def _always(layer: Layer) -> bool:
    return True


def _forget(diff_id: Digest, layer: Digest) -> None:
    pass


class Stacks(msgspec.Struct):
    """Safe for several threads; two processes never unpack the same layer at once.

    `reachable` says whether there is a way to the external cache that a layer's blob is in. One
    whose blob could not be had, or was wrong, is lost for the whole build; so are all layers of a
    cache that does not answer. `is_base` says whether a pulled layer is of a base image of this
    build, which nothing can make again; others that a record names are lost, too. `proven` is
    told the diff ID and the id of a layer that has them.
    """

    layers: LayerStore
    blobs: BlobStore
    fetch: Fetch
    recorder: Recorder
    locks: str
    reachable: Callable[[Layer], bool] = _nowhere
    is_base: Callable[[Layer], bool] = _always
    proven: Callable[[Digest, Digest], None] = _forget
    _pulling: threading.Lock = msgspec.field(default_factory=threading.Lock)
    _lost: set[tuple[Digest, str] | str] = msgspec.field(default_factory=set)

    def exists(self, stack: Stack) -> bool:
        """Whether the stack's files are here, or can be fetched."""
        return all(
            (layer.pulled and not self._given_up(layer))
            or self.layers.has(layer.id)
            or self._fetchable(layer)
            for layer in stack
        )

    def lose(self, layer: Layer, error: Exception) -> LayerLost:
        """Give a layer of an external cache up, with a warning; for the caller to raise."""
        silent = isinstance(error, RemoteError) and error.retryable
        what = (
            layer.origin
            if silent and not isinstance(error, WrongDigest)
            else (layer.id, layer.origin)
        )
        if what not in self._lost:
            self._lost.add(what)
            self.recorder.warn(f"a cached result cannot be used: {error}")
        return LayerLost(f"a layer is lost: {error}")

    def unpacked(self, stack: Stack) -> bool:
        """Whether all of the stack's files are here."""
        return all(self.layers.has(layer.id) for layer in stack)

    def view(self, stack: Stack) -> View:
        """The tree of a stack, unpacked first where it is not."""
        self.ensure(stack)
        return View(self.layers, tuple(layer.id for layer in stack))

    def ensure(self, stack: Stack) -> None:
        """Fetch and unpack what is missing; several layers at once."""
        if not self._missing(stack):
            return
        from concurrent.futures import ThreadPoolExecutor

        with self._pulling:
            missing = self._missing(stack)
            if not missing:
                return
            origin = next((layer.origin for layer in missing if layer.origin), "base image")
            with self.recorder.internal(f"pull {origin}") as step, ThreadPoolExecutor(3) as pool:
                lost = list(filter(None, pool.map(lambda layer: self._bring(layer, step), missing)))
            if lost:
                raise lost[0]

    def lower(self, stack: Stack) -> tuple[str, ...]:
        """The directories of unpacked layers, highest first, as an overlay takes them."""
        return tuple(os.fsdecode(path) for path in self.view(stack).roots())

    def _missing(self, stack: Stack) -> list[Layer]:
        seen = {layer.id: layer for layer in stack if not self.layers.has(layer.id)}
        for layer in seen.values():
            if self._given_up(layer) if layer.pulled else not self._fetchable(layer):
                raise LayerLost(
                    f"layer {layer.id} is gone from the store",
                    hint="build again: the steps that need it will run anew",
                )
        return list(seen.values())

    def _fetchable(self, layer: Layer) -> bool:
        """Whether a layer that an external cache has can be had."""
        if layer.blob is None or self._is_lost(layer):
            return False
        return self.reachable(layer) or self.blobs.has(layer.blob.digest, layer.blob.size)

    def _is_lost(self, layer: Layer) -> bool:
        return bool({(layer.id, layer.origin), layer.origin} & self._lost)

    def _given_up(self, layer: Layer) -> bool:
        """Whether a pulled layer could not be had, and is of no base image of this build."""
        return self._is_lost(layer) and not self.is_base(layer)

    def _bring(self, layer: Layer, step: Step) -> LayerLost | None:
        """Fetch and unpack one layer. That an external cache lacks it is no error of the pull."""
        arrived = 0

        def tell(done: int, total: int) -> None:
            nonlocal arrived
            arrived = done
            step.progress(layer.id, done, total)

        try:
            self.fetch(layer, tell)
            if arrived:
                step.progress(layer.id, arrived, arrived, done=True)
            step.progress(f"extracting {layer.id}", 0)
            self._unpack(layer)
        except (RemoteError, HostError) as error:
            if layer.pulled and self.is_base(layer):
                raise
            return self.lose(layer, error)
        step.progress(f"extracting {layer.id}", 0, done=True)
        return None

    def _unpack(self, layer: Layer) -> None:
        from lamina.layer.unpack import MalformedLayer, unpack

        assert layer.blob is not None
        with locked(f"{self.locks}/{encoded(layer.id)}"):
            if self.layers.has(layer.id):
                return
            with self.blobs.open(layer.blob.digest) as blob, _work(layer, self.layers) as work:
                try:
                    unpacked = unpack(decompressing_reader(blob), work.diff)
                except MalformedLayer as error:
                    raise MalformedImage(f"{layer.origin}: {error.message}") from error
                _check(layer, unpacked)
                self.layers.publish(work, unpacked.manifest, id=layer.id, made=layer.created)
        if layer.diff_id is not None:
            self.proven(layer.diff_id, layer.id)


def _work(layer: Layer, layers: LayerStore) -> WorkDir:
    """Where a layer is unpacked. A blob says about how much that will be; a cache may say anything,
    and nothing is to be thrown out of the store for more than can come of the blob.
    """
    assert layer.blob is not None
    size = min(layer.size, _MOST_PACKED * layer.blob.size)
    return layers.work(size=size or _PACKED * layer.blob.size)


def _check(layer: Layer, unpacked: Unpacked) -> None:
    """Raises MalformedImage for files that are not the layer's."""
    if layer.diff_id is None:
        if unpacked.diff_id != layer.id:
            raise MalformedImage(
                f"{layer.origin}: a layer holds {unpacked.diff_id}, "
                f"but the image's configuration says {layer.id}"
            )
    elif unpacked.diff_id != layer.diff_id or unpacked.manifest.identity() != layer.id:
        raise MalformedImage(f"{layer.origin}: the files of a layer are not what its record says")
