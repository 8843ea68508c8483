"""Image manifests and indexes (OCI image spec, manifest.md and image-index.md)."""

from __future__ import annotations

import msgspec

from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One image for one platform: its config and its layers, lowest first."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Manifests for several platforms, or the content of an image layout."""

    schema_version: int
    media_type: str = ""
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


def encode_document(document: msgspec.Struct) -> bytes:
    """The canonical JSON of a document: equal values give equal bytes."""
    return msgspec.json.encode(document, order="deterministic")


def empty_index() -> Index:
    return Index(schema_version=2, media_type=mediatype.INDEX, manifests=())
