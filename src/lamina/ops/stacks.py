"""Stacks of layers as files: what is there, and what must be fetched and unpacked first.

Nothing is pulled before something needs it. What a base image's layers hold is needed when a step
runs on them or is copied onto them, never for a step that is cached.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable

import msgspec

from lamina.content.decompression import decompressing_reader
from lamina.content.errors import MalformedImage
from lamina.content.store import BlobStore
from lamina.errors import HostError
from lamina.fs.lock import locked
from lamina.layer.entry import Manifest
from lamina.layer.stack import Layer, Stack
from lamina.oci.digest import Digest, digest_from, encoded
from lamina.snapshot.store import LayerStore
from lamina.snapshot.view import View
from lamina.trace.recorder import Progress, Recorder

EMPTY_LAYER = Manifest(entries=()).identity()

Fetch = Callable[[Layer, Progress], None]
"""Brings the blob of a pulled layer into the blob store, verified; may do nothing where it is
there.
"""


def identity(stack: Stack) -> Digest:
    """The digest that stands for the tree of a stack. Layers that change nothing do not count."""
    ids = [encoded(layer.id) for layer in stack if layer.id != EMPTY_LAYER]
    return digest_from(hashlib.sha256("\n".join(["lamina stack 1", *ids]).encode()).digest())


class Stacks(msgspec.Struct):
    """Safe for several threads; two processes never unpack the same layer at once."""

    layers: LayerStore
    blobs: BlobStore
    fetch: Fetch
    recorder: Recorder
    locks: str
    _pulling: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def exists(self, stack: Stack) -> bool:
        """Whether the stack's files are here, or can be fetched."""
        return all(layer.pulled or self.layers.has(layer.id) for layer in stack)

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

                def bring(layer: Layer) -> None:
                    name = layer.id
                    self.fetch(layer, lambda done, total: step.progress(name, done, total))
                    step.progress(f"extracting {name}", 0)
                    self._unpack(layer)
                    step.progress(f"extracting {name}", 0, done=True)

                for _ in pool.map(bring, missing):
                    pass

    def lower(self, stack: Stack) -> tuple[str, ...]:
        """The directories of unpacked layers, highest first, as an overlay takes them."""
        return tuple(os.fsdecode(path) for path in self.view(stack).roots())

    def _missing(self, stack: Stack) -> list[Layer]:
        seen = {layer.id: layer for layer in stack if not self.layers.has(layer.id)}
        for layer in seen.values():
            if not layer.pulled:
                raise HostError(
                    f"layer {layer.id} is gone from the store",
                    hint="build again: the steps that need it will run anew",
                )
        return list(seen.values())

    def _unpack(self, layer: Layer) -> None:
        from lamina.layer.unpack import MalformedLayer, unpack

        assert layer.blob is not None
        with locked(f"{self.locks}/{encoded(layer.id)}"):
            if self.layers.has(layer.id):
                return
            with self.blobs.open(layer.blob.digest) as blob, self.layers.work() as work:
                try:
                    unpacked = unpack(decompressing_reader(blob), work.diff)
                except MalformedLayer as error:
                    raise MalformedImage(f"{layer.origin}: {error.message}") from error
                if unpacked.diff_id != layer.id:
                    raise MalformedImage(
                        f"{layer.origin}: a layer holds {unpacked.diff_id}, "
                        f"but the image's configuration says {layer.id}"
                    )
                self.layers.publish(work, unpacked.manifest, id=layer.id)
