"""Where images come from: the port, the value, and how one image is found below a descriptor.

An image source answers two questions: what a name means for a platform (`resolve`, which reads only
small documents), and the bytes of one blob (`fetch`). Registries, image layouts, archives and the
local store are its drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from lamina.content.compression import Compression, compression_of
from lamina.content.documents import check_digest, parse_config, parse_manifest_or_index
from lamina.content.errors import MalformedImage, NoMatchingPlatform
from lamina.content.store import BlobStore
from lamina.oci import mediatype
from lamina.oci.config import ImageConfig
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.oci.manifest import Index, Manifest
from lamina.oci.platform import Platform, normalized, rank
from lamina.oci.reference import Reference

CountBytes = Callable[[int], None]
"""Is told how many more bytes have arrived; a negative number takes back what arrived in vain."""

ReadDocument = Callable[[Descriptor], bytes]
"""The verified bytes of a small document; a size of 0 in the descriptor stands for unknown."""

_MAX_DEPTH = 4
_MAX_DOCUMENTS = 64


class ImageLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer: its blob, and the digest of its plain tar."""

    descriptor: Descriptor
    diff_id: Digest

    @property
    def compression(self) -> Compression:
        return compression_of(self.descriptor.media_type)


class ResolvedImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image for one platform. Its documents are at hand, its layers are not.

    `descriptor` is the manifest's, `index` that of the index through which it was found.
    `manifest_data` and `config_data` are the documents' own bytes, which the digests are of.
    `platform` is what the configuration says, which need not be what was asked for when there is
    no index to choose from.
    """

    name: str
    descriptor: Descriptor
    index: Descriptor | None
    manifest: Manifest
    manifest_data: bytes
    config: ImageConfig
    config_data: bytes
    platform: Platform
    layers: tuple[ImageLayer, ...]

    @property
    def digest(self) -> Digest:
        """What a name with a digest should say: the index where there is one, else the manifest."""
        return (self.index or self.descriptor).digest


class ImageSource(Protocol):
    """A registry, a layout, an archive or the local store."""

    def resolve(self, reference: Reference, platform: Platform) -> ResolvedImage:
        """Finds an image. Raises NotFound, NoMatchingPlatform, MalformedImage, WrongDigest, or
        another RemoteError."""
        ...

    def fetch(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        progress: CountBytes | None = None,
    ) -> None:
        """Brings a blob of the image `reference` into the store, verified. Does nothing for one
        that is there. Raises NotFound, WrongDigest, or another RemoteError."""
        ...


def resolve_image(
    top: Descriptor, *, read: ReadDocument, platform: Platform, name: str
) -> ResolvedImage:
    """The image for `platform` at or below `top`, a manifest or an index (also nested).

    `name` is what messages call it. Raises NoMatchingPlatform, MalformedImage, and whatever `read`
    raises.
    """
    data = read(top)
    document = parse_manifest_or_index(data, media_type=top.media_type, subject=name)
    if isinstance(document, Manifest):
        return _image(top, document, data, index=None, read=read, name=name)
    return choose_image(document, index=top, read=read, platform=platform, name=name)


def choose_image(
    document: Index, *, index: Descriptor | None, read: ReadDocument, platform: Platform, name: str
) -> ResolvedImage:
    """The image of an index that suits `platform` best; the first of several that suit alike."""
    offers = list(_offers(document, _Walk(read=read, name=name), depth=1))
    suitable = [
        (place, offer) for offer in offers if (place := rank(platform, offer.platform)) is not None
    ]
    if not suitable:
        offered = tuple(normalized(offer.platform) for offer in offers)
        raise NoMatchingPlatform(name, wanted=platform, offered=offered)
    chosen = min(suitable, key=lambda pair: pair[0])[1].descriptor
    data = read(chosen)
    manifest = parse_manifest_or_index(data, media_type=chosen.media_type, subject=name)
    if not isinstance(manifest, Manifest):
        raise MalformedImage(f"{name}: an index where a manifest was announced")
    return _image(chosen, manifest, data, index=index, read=read, name=name)


class _Offer(msgspec.Struct, frozen=True):
    descriptor: Descriptor
    platform: Platform


class _Walk(msgspec.Struct, kw_only=True):
    """Reads the documents below an index, not more than a decent index can have."""

    read: ReadDocument
    name: str
    left: int = _MAX_DOCUMENTS

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        self.left -= 1
        if self.left < 0:
            raise MalformedImage(f"{self.name}: the index refers to too many other documents")
        data = self.read(descriptor)
        return parse_manifest_or_index(data, media_type=descriptor.media_type, subject=self.name)


def _offers(index: Index, walk: _Walk, *, depth: int) -> Iterator[_Offer]:
    """The images of an index with their platforms. Attestations and other artifacts are none."""
    if depth > _MAX_DEPTH:
        raise MalformedImage(f"{walk.name}: indexes are nested more than {_MAX_DEPTH} deep")
    for descriptor in index.manifests:
        platform = descriptor.platform
        if platform and "unknown" in (platform.os, platform.architecture):
            continue
        check_digest(descriptor.digest, subject=walk.name)
        if descriptor.media_type in mediatype.INDEXES:
            nested = walk.document(descriptor)
            if isinstance(nested, Index):
                yield from _offers(nested, walk, depth=depth + 1)
        elif descriptor.media_type in mediatype.MANIFESTS:
            if platform is None:
                platform = _platform_inside(descriptor, walk)
            yield _Offer(descriptor, platform)


def _platform_inside(descriptor: Descriptor, walk: _Walk) -> Platform:
    manifest = walk.document(descriptor)
    if not isinstance(manifest, Manifest):
        raise MalformedImage(f"{walk.name}: an index where a manifest was announced")
    data = walk.read(manifest.config)
    return config_platform(parse_config(data, manifest=manifest, subject=walk.name))


def config_platform(config: ImageConfig) -> Platform:
    """The platform that a configuration is for."""
    return normalized(
        Platform(
            os=config.os,
            architecture=config.architecture,
            variant=config.variant,
            os_version=config.os_version,
            os_features=config.os_features,
        )
    )


def _image(
    descriptor: Descriptor,
    manifest: Manifest,
    data: bytes,
    *,
    index: Descriptor | None,
    read: ReadDocument,
    name: str,
) -> ResolvedImage:
    config_data = read(manifest.config)
    config = parse_config(config_data, manifest=manifest, subject=name)
    diff_ids = [Digest(diff_id) for diff_id in config.rootfs.diff_ids or ()]
    return ResolvedImage(
        name=name,
        descriptor=descriptor,
        index=index,
        manifest=manifest,
        manifest_data=data,
        config=config,
        config_data=config_data,
        platform=config_platform(config),
        layers=tuple(
            ImageLayer(descriptor=layer, diff_id=diff_id)
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
        ),
    )
