"""`type=image,push=true`, `type=registry` and `--push`: the image goes to registries, under all of
its names, and then gets them in the local image store, too (unless `store=false`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self

import msgspec
from msgspec.structs import replace

from lamina.errors import InternalError, UsageError
from lamina.exporter.blobs import ORIGIN, LayerBlob, LayerBlobs
from lamina.exporter.image import BuiltImage
from lamina.exporter.manifests import TakeLayers, commit, noted
from lamina.exporter.meter import Meter, OutputProgress
from lamina.exporter.options import (
    PLACEMENT_KEYS,
    ImageOptions,
    LayerForm,
    Placement,
    parse_image_options,
    parse_placement,
)
from lamina.exporter.port import ExportContext, ExportResult, unpack
from lamina.exporter.upload import Shipment, Stopped, Upload
from lamina.layer.stack import Layer, Stack
from lamina.oci.digest import Digest

_MAKERS = 2
"""Layers that are compressed at once; others are sent meanwhile."""


class PushExporter(msgspec.Struct, frozen=True, kw_only=True):
    """The names of an image say where it goes."""

    options: ImageOptions
    placement: Placement

    @classmethod
    def parse(cls, dest: str | None, attributes: Mapping[str, str]) -> Self:
        if dest:
            raise UsageError("what is pushed has no destination but its names")
        return cls(
            options=parse_image_options(attributes, output="image", more=PLACEMENT_KEYS),
            placement=parse_placement(attributes),
        )

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult:
        target, store = context.target, context.store
        if target is None or store is None:
            raise InternalError("this output was given no registries, or no image store")
        names = context.names or self.options.names  # -t replaces name=, as with buildx
        if not names:
            raise UsageError("tag is needed when pushing to registry", hint="name it with -t NAME")
        if self.placement.by_digest:
            names = tuple(dict.fromkeys(replace(name, tag=None) for name in names))
        if self.placement.unpack:
            unpack(images, context)
        named = replace(context, names=names)
        options = replace(self.options, names=())
        insecure = frozenset(name.domain for name in names if self.placement.insecure)
        with Upload(target(insecure), context.content, names) as upload:
            layers = shipping(upload, context.blobs, context.progress)
            committed = commit(images, options, named, layers=layers)
            shipment = Shipment(manifests=committed.documents(), blobs=committed.blobs)
            upload.finish(shipment, context.progress)
        if self.placement.store and not self.placement.by_digest:
            for name in names:
                with Meter(context.progress, f"naming to {name}"):
                    origin = f"{name.repository}@{committed.descriptor.digest}"
                    store.tag(name, noted(committed.descriptor, ORIGIN, origin))
        return replace(committed.result(), pushed=True)


def shipping(upload: Upload, blobs: LayerBlobs, progress: OutputProgress) -> TakeLayers:
    """Layers in the form that is wanted, each of which is sent as soon as it is made.

    Those that are known without being here are not made or fetched before somebody lacks them.
    """

    def layers(stack: Stack, form: LayerForm) -> Sequence[LayerBlob]:
        found: dict[Digest, LayerBlob] = {}
        unknown: dict[Digest, Layer] = {}
        for layer in stack:
            if (blob := blobs.foreseen(layer, form)) is None:
                unknown[layer.id] = layer
                continue
            found[layer.id] = blob
            upload.add(blob.descriptor, origin=layer.origin, bring=partial(blobs.blob, layer, form))
        if unknown:
            found |= _made(unknown.values(), form, upload, blobs, progress)
        return [found[layer.id] for layer in stack]

    return layers


def _made(
    layers: Collection[Layer],
    form: LayerForm,
    upload: Upload,
    blobs: LayerBlobs,
    progress: OutputProgress,
) -> dict[Digest, LayerBlob]:
    """The blobs of layers by their ids, made several at once."""
    total = blobs.missing(tuple(layers), form)
    with Meter(progress, "exporting layers", total) as meter:

        def advance(amount: int) -> None:
            upload.go_on()
            meter.advance(amount)

        def make(layer: Layer) -> LayerBlob:
            blob = blobs.blob(layer, form, advance)
            upload.add(blob.descriptor)
            return blob

        with ThreadPoolExecutor(_MAKERS, "layer") as pool:
            made = {layer.id: pool.submit(make, layer) for layer in layers}
            try:
                return {key: future.result() for key, future in made.items()}
            except Stopped:
                upload.wait()
                raise
            except BaseException:
                upload.stop()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
