"""From built images to documents: configs, manifests, and an index where there are several
platforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from lamina.content.layout import IMAGE_NAME, REF_NAME
from lamina.errors import UsageError, UserError
from lamina.exporter.annotations import Annotation, Place, annotations_of
from lamina.exporter.blobs import LayerBlob, unique
from lamina.exporter.image import BuiltImage, finished_config, rfc3339
from lamina.exporter.meter import Meter
from lamina.exporter.options import ImageOptions, LayerForm
from lamina.exporter.port import ExportContext, ExportResult
from lamina.layer.stack import Stack
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.oci.manifest import Index, Manifest, encode_document
from lamina.oci.platform import normalized
from lamina.oci.reference import Reference

CREATED = "org.opencontainers.image.created"


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """Images whose documents lie in the blob store.

    `descriptor` points at the manifest, or at the index of several. `image_id` is the digest of
    the only config. `manifests` are the images' own. `blobs` is everything that can be reached,
    each once.
    """

    descriptor: Descriptor
    image_id: Digest | None
    names: tuple[Reference, ...]
    manifests: tuple[Manifest, ...]
    blobs: tuple[Descriptor, ...]

    def result(self) -> ExportResult:
        return ExportResult(
            digest=self.descriptor.digest,
            image_id=self.image_id,
            descriptor=self.descriptor,
            names=tuple(str(name) for name in self.names),
        )

    def named(self) -> tuple[Descriptor, ...]:
        """The descriptor once for every name, as an image layout lists it (containerd's way)."""
        if not self.names:
            return (self.descriptor,)
        return tuple(_named(self.descriptor, name) for name in self.names)


TakeLayers = Callable[[Stack, LayerForm], Sequence[LayerBlob]]
"""Gives the layers of a stack in the form that is wanted."""


def commit(
    images: Sequence[BuiltImage],
    options: ImageOptions,
    context: ExportContext,
    *,
    layers: TakeLayers | None = None,
) -> Committed:
    """Writes the documents of the images, and their layers unless `layers` gives them otherwise.

    Raises UsageError for annotations that have no place in these images.
    """
    annotations = (*context.annotations, *options.annotations)
    _check_annotations(annotations, images, several=context.many(images))
    epoch = options.epoch if options.has_epoch else context.epoch
    form = options.form
    if options.rewrite_timestamp and epoch is not None:
        form = msgspec.structs.replace(form, clamp_ns=epoch * 10**9)
    writer = _Writer(context, form, annotations, epoch, layers or _ensuring(context))
    written = [writer.image(image) for image in images]
    names = tuple(dict.fromkeys((*context.names, *options.names)))
    image_id = None
    if context.many(images):
        descriptor = writer.index([one.descriptor for one in written])
    else:
        (only,) = written
        descriptor, image_id = only.descriptor, only.manifest.config.digest
    return Committed(
        descriptor=_dated(descriptor, [one.created for one in written], epoch),
        image_id=image_id,
        names=names,
        manifests=tuple(one.manifest for one in written),
        blobs=unique(
            (
                descriptor,
                *(one.descriptor for one in written),
                *(one.manifest.config for one in written),
                *(layer for one in written for layer in one.manifest.layers),
            )
        ),
    )


class _Written(msgspec.Struct, frozen=True):
    descriptor: Descriptor
    manifest: Manifest
    created: str | None


class _Writer(msgspec.Struct, frozen=True):
    context: ExportContext
    form: LayerForm
    annotations: tuple[Annotation, ...]
    epoch: int | None
    layers: TakeLayers

    def image(self, image: BuiltImage) -> _Written:
        docker = self.form.docker_types
        blobs = self.layers(image.stack, self.form)
        config = finished_config(image, [blob.diff_id for blob in blobs], epoch=self.epoch)
        config_type = mediatype.DOCKER_CONFIG if docker else mediatype.CONFIG
        media_type = mediatype.DOCKER_MANIFEST if docker else mediatype.MANIFEST
        platform = normalized(image.platform)
        manifest = Manifest(
            schema_version=2,
            media_type=media_type,
            config=self._put(config, config_type, "config"),
            layers=tuple(blob.descriptor for blob in blobs),
            annotations=annotations_of(self.annotations, Place.MANIFEST, platform),
        )
        descriptor = msgspec.structs.replace(
            self._put(manifest, media_type, "manifest"),
            platform=platform,
            annotations=annotations_of(self.annotations, Place.MANIFEST_DESCRIPTOR, platform),
        )
        return _Written(descriptor, manifest, config.created)

    def index(self, manifests: Sequence[Descriptor]) -> Descriptor:
        media_type = mediatype.DOCKER_INDEX if self.form.docker_types else mediatype.INDEX
        index = Index(
            schema_version=2,
            media_type=media_type,
            manifests=tuple(manifests),
            annotations=annotations_of(self.annotations, Place.INDEX),
        )
        return msgspec.structs.replace(
            self._put(index, media_type, "manifest list"),
            annotations=annotations_of(self.annotations, Place.INDEX_DESCRIPTOR),
        )

    def _put(self, document: msgspec.Struct, media_type: str, what: str) -> Descriptor:
        data = encode_document(document)
        digest = digest_of(data)
        with Meter(self.context.progress, f"exporting {what} {digest}"):
            self.context.content.put(data)
        return Descriptor(media_type=media_type, digest=digest, size=len(data))


def _ensuring(context: ExportContext) -> TakeLayers:
    def layers(stack: Stack, form: LayerForm) -> Sequence[LayerBlob]:
        missing = context.blobs.missing(stack, form)
        with Meter(context.progress, "exporting layers", missing) as meter:
            return context.blobs.ensure(stack, form, meter.advance)

    return layers


def _dated(descriptor: Descriptor, created: Sequence[str | None], epoch: int | None) -> Descriptor:
    """With the time of creation: the latest image's, not the clock's, so that equals stay equal."""
    latest = max((time for time in created if time), default=None)
    time = rfc3339(epoch) if epoch is not None else latest
    if time is None:
        return descriptor
    return msgspec.structs.replace(
        descriptor, annotations={CREATED: time, **descriptor.annotations}
    )


def _named(descriptor: Descriptor, name: Reference) -> Descriptor:
    tag = name.tag or str(name)
    annotations = {**descriptor.annotations, IMAGE_NAME: str(name), REF_NAME: tag}
    return msgspec.structs.replace(descriptor, annotations=annotations)


def _check_annotations(
    annotations: Sequence[Annotation], images: Sequence[BuiltImage], *, several: bool
) -> None:
    offered = {normalized(image.platform) for image in images}
    for one in annotations:
        if one.platform is not None and one.platform not in offered:
            raise UserError(f"invalid annotation: no platform {one.platform} found in source")
        if one.place in (Place.INDEX, Place.INDEX_DESCRIPTOR) and not several:
            raise UsageError(
                "index annotations not supported for single platform export",
                hint="build for several platforms, or write manifest: instead of index:",
            )
