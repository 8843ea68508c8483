"""From built images to documents: configs, manifests, and an index where there are several
platforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from lamina.exporter.attestation import Attached

CREATED = "org.opencontainers.image.created"


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """Images whose documents lie in the blob store.

    `descriptor` points at the manifest, or at the index of several. `image_id` is the digest of
    the only config, where there is no index. `manifests` are the images' own. `blobs` is everything
    that can be reached, each once.
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

    def documents(self) -> tuple[Descriptor, ...]:
        """The manifests and the index among the blobs, each before what refers to it."""
        kinds = mediatype.MANIFESTS | mediatype.INDEXES
        top, *children = (one for one in self.blobs if one.media_type in kinds)
        return (*children, top)

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
    many = context.many(images) or attested(images, options)
    _check_annotations(annotations, images, several=many)
    epoch = options.epoch if options.has_epoch else context.epoch
    form = options.form
    if options.rewrite_timestamp and epoch is not None:
        form = msgspec.structs.replace(form, clamp_ns=epoch * 10**9)
    writer = _Writer(context, form, annotations, epoch, layers or _ensuring(context))
    written = [writer.image(image) for image in images]
    names = context.names or options.names  # -t replaces name=, as with buildx
    image_id: Digest | None = None
    notes: tuple[Attached, ...] = ()
    if many:
        notes = writer.attestations(images, written, names, artifact=options.artifact)
        listed = (*(one.descriptor for one in written), *(one.descriptor for one in notes))
        descriptor = writer.index(listed)
    else:
        (only,) = written
        descriptor, image_id = only.descriptor, only.manifest.config.digest
        listed = ()
    manifests = tuple(one.manifest for one in written)
    documents = (*manifests, *(one.manifest for one in notes))
    return Committed(
        descriptor=_dated(descriptor, [one.created for one in written], epoch),
        image_id=image_id,
        names=names,
        manifests=manifests,
        blobs=unique(
            (
                descriptor,
                *listed,
                *(one.config for one in documents),
                *(layer for one in documents for layer in one.layers),
            )
        ),
    )


def attested(images: Sequence[BuiltImage], options: ImageOptions) -> bool:
    """Whether there are attestations for which one image becomes an index."""
    said = [image.attestation for image in images if image.attestation is not None]
    if not any(options.inline or not one.inline_only for one in said):
        return False
    if options.form.docker_types:
        raise UsageError('cannot export attestations with "oci-mediatypes=false"')
    return True


class _Written(msgspec.Struct, frozen=True):
    """`blobs` are the image's layers by their ids."""

    descriptor: Descriptor
    manifest: Manifest
    created: str | None
    blobs: dict[Digest, Descriptor]


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
        known = {layer.id: blob.descriptor for layer, blob in zip(image.stack, blobs, strict=True)}
        return _Written(descriptor, manifest, config.created, known)

    def attestations(
        self,
        images: Sequence[BuiltImage],
        written: Sequence[_Written],
        names: Sequence[Reference],
        *,
        artifact: bool,
    ) -> tuple[Attached, ...]:
        """What is said about the images, each in a manifest of its own."""
        said = [(image.attestation, one) for image, one in zip(images, written, strict=True)]
        if all(attestation is None for attestation, _ in said):
            return ()
        from lamina.exporter.attestation import attach

        return tuple(
            attach(
                attestation,
                one.descriptor,
                names=names,
                layers={key: blob for each in written for key, blob in each.blobs.items()},
                epoch=self.epoch,
                artifact=artifact,
                put=self._put_attestation,
            )
            for attestation, one in said
            if attestation is not None
        )

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
        return self._write(encode_document(document), media_type, what)

    def _put_attestation(self, data: bytes, media_type: str) -> Descriptor:
        if media_type == mediatype.MANIFEST:
            return self._write(data, media_type, "attestation manifest")
        return Descriptor(
            media_type=media_type, digest=self.context.content.put(data), size=len(data)
        )

    def _write(self, data: bytes, media_type: str, what: str) -> Descriptor:
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


def noted(descriptor: Descriptor, key: str, value: str) -> Descriptor:
    """With an annotation more."""
    return msgspec.structs.replace(descriptor, annotations={**descriptor.annotations, key: value})


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
