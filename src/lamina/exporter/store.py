"""`type=image`, and `-t`: the image gets a name in the local image store.

Its layers stay what they are: those that were made here are named by their plain tar, which is
written when somebody needs it; those that were pulled need not be here at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from lamina.content.compression import Compression
from lamina.errors import InternalError, UsageError
from lamina.exporter.blobs import LayerBlob
from lamina.exporter.image import BuiltImage
from lamina.exporter.manifests import commit
from lamina.exporter.meter import Meter
from lamina.exporter.options import ImageOptions, LayerForm, parse_image_options
from lamina.exporter.port import ExportContext, ExportResult
from lamina.layer.stack import Stack


class StoreExporter(msgspec.Struct, frozen=True, kw_only=True):
    """`lazy` leaves layers unwritten; an output that asks for a compression gets its blobs at
    once.
    """

    options: ImageOptions
    lazy: bool

    @classmethod
    def parse(cls, dest: str | None, attributes: Mapping[str, str]) -> Self:
        if dest:
            raise UsageError(
                "the output image has no destination: it goes to the local image store",
                hint="write type=oci,dest=FILE for a file",
            )
        options = parse_image_options(attributes, output="image")
        lazy = "compression" not in attributes and not options.form.force
        if lazy:
            form = msgspec.structs.replace(options.form, compression=Compression.UNCOMPRESSED)
            options = msgspec.structs.replace(options, form=form)
        return cls(options=options, lazy=lazy)

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult:
        if context.store is None:
            raise InternalError("this output was given no image store")

        def references(stack: Stack, form: LayerForm) -> Sequence[LayerBlob]:
            if form.clamp_ns is not None:
                return context.blobs.ensure(stack, form)
            return context.blobs.references(stack)

        committed = commit(images, self.options, context, layers=references if self.lazy else None)
        for name in committed.names:
            with Meter(context.progress, f"naming to {name}"):
                context.store.tag(name, committed.descriptor)
        return committed.result()
