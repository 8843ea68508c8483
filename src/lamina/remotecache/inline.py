"""The cache in the image itself: a key of its configuration that other tools pass over.

    "lamina.cache.v1": base64(document)     steps of the build; layers by their place in the image

Nothing else is stored or sent: the blobs are the image's own. So it is always `mode=min`, and a
step whose layers are not in the image has a record without blobs.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import msgspec
from msgspec.structs import asdict, replace

from lamina.oci.config import ImageConfig
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.remotecache.document import CachedLayer, CacheDocument
from lamina.remotecache.encoding import decode, encode
from lamina.remotecache.errors import UnreadableCache

KEY = "lamina.cache.v1"


class InlinedCache(msgspec.Struct, frozen=True, omit_defaults=True):
    """`places` say for every layer of the document which one of the image's it is, -1 for none."""

    document: str
    places: tuple[int, ...]


class CachingConfig(ImageConfig, frozen=True, kw_only=True, omit_defaults=True):
    """The configuration of an image that holds its own cache."""

    cache: InlinedCache | None = msgspec.field(default=None, name=KEY)


class _Outline(msgspec.Struct, frozen=True):
    cache: InlinedCache | None = msgspec.field(default=None, name=KEY)
    rootfs: _RootFS | None = None


class _RootFS(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...] | None = ()


def inlined(config: ImageConfig, document: CacheDocument, stack: Sequence[Digest]) -> ImageConfig:
    """The configuration with the document in it. `stack` are the ids of the image's layers."""
    places = {layer: place for place, layer in enumerate(stack)}
    bare = tuple(
        replace(layer, blob=None) if layer.id in places or not layer.base else layer
        for layer in document.layers
    )
    data = encode(replace(document, layers=bare, mounts=(), replaces=()))
    cache = InlinedCache(
        document=base64.b64encode(data).decode(),
        places=tuple(places.get(layer.id, -1) for layer in document.layers),
    )
    return CachingConfig(**asdict(config), cache=cache)


def extract(config: bytes, blobs: Sequence[Descriptor], *, subject: str) -> CacheDocument | None:
    """The document in a configuration, its layers with the image's `blobs`; None if there is none.

    Raises UnreadableCache.
    """
    try:
        outline = msgspec.json.decode(config, type=_Outline)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _damaged(subject, str(error)) from None
    cache = outline.cache
    if cache is None:
        return None
    try:
        data = base64.b64decode(cache.document, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _damaged(subject, str(error)) from None
    document = decode(data, subject=subject)
    diff_ids = (outline.rootfs.diff_ids if outline.rootfs else ()) or ()
    if len(cache.places) != len(document.layers) or len(diff_ids) != len(blobs):
        raise _damaged(subject, "it does not fit the layers of the image")
    layers = []
    for layer, place in zip(document.layers, cache.places, strict=True):
        if place >= len(blobs):
            raise _damaged(subject, "it does not fit the layers of the image")
        layers.append(layer if place < 0 else _placed(layer, blobs[place], diff_ids[place]))
    return replace(document, layers=tuple(layers))


def _placed(layer: CachedLayer, blob: Descriptor, diff_id: str) -> CachedLayer:
    plain = replace(blob, annotations={}, platform=None)
    return replace(layer, blob=plain, diff_id=Digest(diff_id))


def _damaged(subject: str, why: str) -> UnreadableCache:
    return UnreadableCache(f"{subject}: the inline cache is damaged: {why[:200]}")
