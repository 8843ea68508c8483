"""`type=image`, and `-t`: the image gets a name in the local image store.

Its layers stay what they are: those that were made here are named by their plain tar, which is
written when somebody needs it; those that were pulled need not be here at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec
from msgspec.structs import replace

from lamina.content.compression import Compression
from lamina.errors import InternalError, UsageError
from lamina.exporter.blobs import UNWRITTEN, LayerBlob
from lamina.exporter.image import BuiltImage
from lamina.exporter.manifests import attested, commit, noted
from lamina.exporter.meter import Meter
from lamina.exporter.options import (
    PLACEMENT_KEYS,
    ImageOptions,
    LayerForm,
    Placement,
    boolean,
    parse_image_options,
    parse_placement,
)
from lamina.exporter.port import ExportContext, ExportResult, unpack
from lamina.layer.stack import Stack


class StoreExporter(msgspec.Struct, frozen=True, kw_only=True):
    """`compressed`: a compression was asked for, so the blobs of layers are written at once."""

    options: ImageOptions
    placement: Placement
    compressed: bool

    @classmethod
    def parse(cls, dest: str | None, attributes: Mapping[str, str]) -> Self:
        if dest:
            raise UsageError(
                "the output image has no destination: it goes to the local image store",
                hint="write type=oci,dest=FILE for a file",
            )
        return cls(
            options=parse_image_options(attributes, output="image", more=PLACEMENT_KEYS),
            placement=parse_placement(attributes),
            compressed="compression" in attributes
            or boolean(attributes, "force-compression", default=False),
        )

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult:
        if context.store is None:
            raise InternalError("this output was given no image store")

        def references(stack: Stack, form: LayerForm) -> Sequence[LayerBlob]:
            if form.clamp_ns is not None:
                return context.blobs.ensure(stack, form)
            return context.blobs.references(stack)

        # What is said about an image names its digest: then its layers cannot change their form.
        lazy = not self.compressed and not attested(images, self.options)
        if lazy:
            committed = commit(images, _plain(self.options), context, layers=references)
            descriptor = noted(committed.descriptor, UNWRITTEN, "true")
        else:
            committed = commit(images, self.options, context)
            descriptor = committed.descriptor
        if self.placement.unpack:
            unpack(images, context)
        if self.placement.store:
            for name in committed.names:
                with Meter(context.progress, f"naming to {name}"):
                    context.store.tag(name, descriptor)
        return committed.result()


def _plain(options: ImageOptions) -> ImageOptions:
    form = replace(options.form, compression=Compression.UNCOMPRESSED)
    return replace(options, form=form)
