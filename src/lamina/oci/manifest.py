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
    """The canonical JSON of a document: equal values give equal bytes.

    JSON holds no bytes that are not UTF-8: U+FFFD stands for them, as Go's encoder has it.
    """
    try:
        return msgspec.json.encode(document, order="deterministic")
    except UnicodeEncodeError:
        plain = _replaced(msgspec.to_builtins(document))
        return msgspec.json.encode(plain, order="deterministic")


def _replaced(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        case dict():
            return {_replaced(key): _replaced(each) for key, each in value.items()}
        case list() | tuple():
            return [_replaced(each) for each in value]
        case _:
            return value


def empty_index() -> Index:
    return Index(schema_version=2, media_type=mediatype.INDEX, manifests=())
