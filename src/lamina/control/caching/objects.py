"""Caches in object stores and in the cache service of GitHub Actions: drivers for `wiring`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lamina.control.request import CacheRequest
from lamina.errors import InternalError
from lamina.remotecache.options import parse_cache_options
from lamina.remotecache.place import CachePlace, Setting
from lamina.remotecache.port import CacheWriter

_GHA_DOCUMENT = "index"


def object_place(cache: CacheRequest, setting: Setting, *, writes: bool) -> CachePlace:
    """Raises UsageError."""
    keys = _keys(cache.type)
    options = parse_cache_options(cache.attributes, kind=cache.type, writes=writes, more=keys)
    backend, documents = _open(cache, setting)
    return CachePlace(
        kind=cache.type,
        address=backend.address,
        origin=f"{cache.type}://{backend.address.partition('://')[2] or backend.address}",
        documents=tuple(documents),
        options=options,
        connect=lambda: backend,
    )


def _keys(kind: str) -> Collection[str]:
    match kind:
        case "s3":
            from lamina.remotecache import s3

            return s3.ATTRIBUTES
        case "gs":
            from lamina.remotecache import gs

            return gs.ATTRIBUTES
        case "azblob":
            from lamina.remotecache import azblob

            return azblob.ATTRIBUTES
        case "gha":
            from lamina.remotecache import gha_attributes

            return gha_attributes.ATTRIBUTES
    raise InternalError(f"{kind} is no object store")


def _open(cache: CacheRequest, setting: Setting) -> tuple[CacheWriter, Sequence[str]]:
    """The backend, and what its documents are called."""
    attributes, environ = cache.attributes, setting.environ
    match cache.type:
        case "s3":
            from lamina.remotecache import s3

            objects = s3.parse(attributes, environ=environ)
            return objects, objects.place.documents
        case "gs":
            from lamina.remotecache import gs

            objects = gs.parse(attributes, environ=environ)
            return objects, objects.place.documents
        case "azblob":
            from lamina.remotecache import azblob

            objects = azblob.parse(attributes, environ=environ)
            return objects, objects.place.documents
        case "gha":
            from lamina.remotecache import gha_attributes

            service = gha_attributes.parse(attributes, environ=environ)
            return service, (_GHA_DOCUMENT,)
    raise InternalError(f"{cache.type} is no object store")
