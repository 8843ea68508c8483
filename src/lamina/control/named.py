"""Images of the local store by what people call them: a name, or a beginning of an ID."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import msgspec

from lamina.content.documents import parse_manifest_or_index
from lamina.content.images import NamedImage
from lamina.content.source import ResolvedImage, resolve_image
from lamina.control.store import Store
from lamina.errors import LaminaError, UserError
from lamina.notation.suggest import nearest
from lamina.oci.digest import Digest
from lamina.oci.manifest import Manifest
from lamina.oci.platform import Platform, host_platform, rank
from lamina.oci.reference import parse_reference

_ID = re.compile(r"(?:sha256:)?(?P<digits>[0-9a-f]{4,64})\Z")


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What a name leads to. `image` is the one for this machine, or else the first.

    It is None where the documents are damaged or missing; `image_id` is then the digest that the
    name means, otherwise that of the image's configuration.
    """

    image_id: Digest
    platforms: tuple[Platform, ...] = ()
    image: ResolvedImage | None = None


def details_of(store: Store, named: NamedImage) -> Details:
    """Reads the documents of an image. What is wrong with them is not said here."""
    try:
        platforms = _platforms(store, named)
        image = resolve_image(
            named.descriptor,
            read=lambda wanted: store.blobs.read(wanted.digest),
            platform=_best(platforms),
            name=str(named.reference),
        )
    except LaminaError:
        return Details(image_id=named.descriptor.digest)
    return Details(
        image_id=image.manifest.config.digest,
        platforms=platforms or (image.platform,),
        image=image,
    )


def find_images(store: Store, text: str) -> tuple[NamedImage, ...]:
    """The image with a name, or all names of the image whose ID begins with `text`.

    Raises UserError where there is none, or where several images are meant.
    """
    images = store.images.list()
    found = _by_name(images, text) or _by_id(store, images, text)
    if found:
        return found
    near = nearest(text, (image.reference.familiar for image in images))
    raise UserError(
        f"no such image: {text}", hint=f"did you mean {near}?" if near else "see lamina images"
    )


def _by_name(images: Sequence[NamedImage], text: str) -> tuple[NamedImage, ...]:
    try:
        wanted = parse_reference(text)
    except UserError:
        return ()
    if wanted.digest is None:
        wanted = wanted.with_default_tag()
        return tuple(image for image in images if image.reference == wanted)
    return tuple(
        image
        for image in images
        if image.reference.repository == wanted.repository
        and wanted.tag in (None, image.reference.tag)
        and wanted.digest in (image.descriptor.digest, image.reference.digest)
    )


def _by_id(store: Store, images: Sequence[NamedImage], text: str) -> tuple[NamedImage, ...]:
    wanted = _ID.match(text)
    if wanted is None:
        return ()
    start = "sha256:" + wanted["digits"]
    found: dict[Digest, list[NamedImage]] = {}
    for image in images:
        identity = details_of(store, image).image_id
        if identity.startswith(start) or image.descriptor.digest.startswith(start):
            found.setdefault(identity, []).append(image)
    if len(found) > 1:
        raise UserError(f"the IDs of several images begin with {text}", hint="write more of it")
    return tuple(image for group in found.values() for image in group)


def _platforms(store: Store, named: NamedImage) -> tuple[Platform, ...]:
    """Those of an index; none for a manifest."""
    document = parse_manifest_or_index(
        store.blobs.read(named.descriptor.digest),
        media_type=named.descriptor.media_type,
        subject=str(named.reference),
    )
    if isinstance(document, Manifest):
        return ()
    found = (one.platform for one in document.manifests)
    return tuple(one for one in found if one is not None and one.os != "unknown")


def _best(platforms: Sequence[Platform]) -> Platform:
    """That of this machine where there is an image for it."""
    host = host_platform(os.uname().machine)
    if not platforms or any(rank(host, one) is not None for one in platforms):
        return host
    return platforms[0]
