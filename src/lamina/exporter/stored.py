"""Images of the local store on their way to registries.

What was pulled, pushed, or written with a compression keeps every byte, and so its digest. Where
layers are not written yet (`UNWRITTEN`), they get the form that images travel in, and the manifests
that name them are written anew.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from msgspec.structs import replace

from lamina.content.compression import Compression, compression_of
from lamina.content.documents import parse_config, parse_manifest_or_index
from lamina.content.errors import MalformedImage, NoMatchingPlatform
from lamina.content.images import NamedImage
from lamina.content.store import BlobStore
from lamina.exporter.blobs import ORIGIN, UNWRITTEN, LayerBlob
from lamina.exporter.manifests import TakeLayers
from lamina.exporter.options import LayerForm
from lamina.exporter.upload import Shipment, Upload
from lamina.layer.stack import Layer
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.oci.manifest import Index, Manifest, encode_document
from lamina.oci.platform import Platform, normalized, rank


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """An image of the local store that leaves for the names of `upload`.

    `layers` gives the blobs of layers and sends them, `fetch` brings a blob that is not here.
    """

    image: NamedImage
    content: BlobStore
    upload: Upload
    layers: TakeLayers
    fetch: Callable[[Layer], object]

    def shipment(self, platform: Platform | None = None) -> Shipment:
        """All of the image; of one for several platforms, with `platform`, that one alone.

        Raises NoMatchingPlatform, MalformedImage, and HostError for what is missing.
        """
        top = self._plain(self.image.descriptor)
        document = self._read(top)
        if platform is not None:
            top = self._chosen(top, document, platform)
            document = self._read(top)
        if isinstance(document, Manifest):
            return self._image(top, document)
        parts = [self._part(child) for child in document.manifests]
        children = tuple(part.manifests[-1] for part in parts)
        if children != document.manifests:
            top = self._put(top, replace(document, manifests=children))
        manifests = (*(one for part in parts for one in part.manifests), top)
        return Shipment(manifests=manifests, blobs=tuple(b for part in parts for b in part.blobs))

    def _part(self, child: Descriptor) -> Shipment:
        document = self._read(child)
        if isinstance(document, Index):
            raise MalformedImage(f"{self._name}: an index within an index cannot be pushed")
        return self._image(child, document)

    def _image(self, top: Descriptor, manifest: Manifest) -> Shipment:
        if UNWRITTEN in self.image.descriptor.annotations:
            manifest, before = self._written(manifest, top), manifest
            top = top if manifest == before else self._put(top, manifest)
        else:
            origin = self.image.descriptor.annotations.get(ORIGIN, "")
            for blob in manifest.layers:
                layer = Layer(id=blob.digest, blob=blob, origin=origin)
                self.upload.add(blob, origin=origin, bring=partial(self.fetch, layer))
        return Shipment(manifests=(top,), blobs=(manifest.config,))

    def _written(self, manifest: Manifest, top: Descriptor) -> Manifest:
        """The manifest with layers that can leave."""
        data = self.content.read(manifest.config.digest)
        config = parse_config(data, manifest=manifest, subject=self._name)
        form = LayerForm(docker_types=top.media_type == mediatype.DOCKER_MANIFEST)
        found: dict[Digest, LayerBlob] = {}
        stack = tuple(
            Layer(id=Digest(diff_id), blob=blob, origin=blob.annotations.get(ORIGIN, ""))
            for diff_id, blob in zip(config.rootfs.diff_ids or (), manifest.layers, strict=True)
        )
        for force in (False, True):
            part = tuple(layer for layer in stack if _is_ours(layer) == force)
            blobs = self.layers(part, replace(form, force=force)) if part else ()
            found |= {layer.id: blob for layer, blob in zip(part, blobs, strict=True)}
        return replace(manifest, layers=tuple(found[layer.id].descriptor for layer in stack))

    def _chosen(
        self, top: Descriptor, document: Manifest | Index, platform: Platform
    ) -> Descriptor:
        if isinstance(document, Manifest):
            config = parse_config(
                self.content.read(document.config.digest), manifest=document, subject=self._name
            )
            there = Platform(os=config.os, architecture=config.architecture, variant=config.variant)
            offers = [(there, top)]
        else:
            offers = [(one.platform, one) for one in document.manifests if one.platform is not None]
        suitable = [
            (place, one)
            for offered, one in offers
            if (place := rank(platform, normalized(offered))) is not None
        ]
        if not suitable:
            offered = tuple(one for one, _ in offers if one.os != "unknown")
            raise NoMatchingPlatform(self._name, wanted=platform, offered=offered)
        return min(suitable, key=lambda pair: pair[0])[1]

    def _read(self, descriptor: Descriptor) -> Manifest | Index:
        data = self.content.read(descriptor.digest)
        try:
            return parse_manifest_or_index(
                data, media_type=descriptor.media_type, subject=self._name
            )
        except MalformedImage:
            # An attestation is a manifest whose layers are none.
            if descriptor.media_type != mediatype.MANIFEST:
                raise
            return msgspec.json.decode(data, type=Manifest)

    def _put(self, before: Descriptor, document: Manifest | Index) -> Descriptor:
        data = encode_document(document)
        return replace(before, digest=self.content.put(data), size=len(data))

    def _plain(self, top: Descriptor) -> Descriptor:
        return Descriptor(media_type=top.media_type, digest=top.digest, size=top.size)

    @property
    def _name(self) -> str:
        return str(self.image.reference)


def _is_ours(layer: Layer) -> bool:
    """Whether it is a plain tar that was made or imported here, and not pulled like that."""
    assert layer.blob is not None
    plain = compression_of(layer.blob.media_type) is Compression.UNCOMPRESSED
    return plain and not layer.origin
