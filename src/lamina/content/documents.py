"""Reading the JSON documents of images, which anybody may have written (OCI image spec).

Limits: 4 MiB a manifest or index, 8 MiB a configuration. All functions raise MalformedImage.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from lamina.content.compression import compression_of
from lamina.content.errors import MalformedImage
from lamina.content.store import MAX_DOCUMENT
from lamina.errors import UserError
from lamina.oci import mediatype
from lamina.oci.config import ImageConfig
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, parse_digest
from lamina.oci.manifest import Index, Manifest

MAX_MANIFEST = 4 << 20
MAX_CONFIG = MAX_DOCUMENT

_Document = TypeVar("_Document", bound=msgspec.Struct)


_NULL = msgspec.Raw(b"null")


class _Outline(msgspec.Struct):
    """Enough of a document to see what it is."""

    media_type: str | None = msgspec.field(default=None, name="mediaType")
    schema_version: int | None = msgspec.field(default=None, name="schemaVersion")
    config: msgspec.Raw = _NULL
    layers: msgspec.Raw = _NULL
    manifests: msgspec.Raw = _NULL


def parse_manifest_or_index(data: bytes, *, media_type: str, subject: str) -> Manifest | Index:
    """A manifest or an index. `media_type` is what its sender called it, or empty.

    A document that could be read as both is refused: its readers would not agree what the image
    is (CVE-2021-41190).
    """
    if len(data) > MAX_MANIFEST:
        raise MalformedImage(f"{subject}: the manifest is larger than {MAX_MANIFEST} bytes")
    outline = _decode(data, _Outline, subject=subject, what="manifest")
    if outline.schema_version == 1:
        raise MalformedImage(
            f"{subject}: the manifest is of Docker's schema 1, which is no longer supported",
            hint="push the image again with a tool made after 2017",
        )
    like_index = outline.manifests != _NULL
    if like_index and (outline.layers != _NULL or outline.config != _NULL):
        raise MalformedImage(f"{subject}: the document is both a manifest and an index")
    inner = outline.media_type
    if inner and inner in mediatype.INDEXES | mediatype.MANIFESTS:
        media_type = media_type if media_type in mediatype.INDEXES | mediatype.MANIFESTS else inner
        if inner != media_type or (inner in mediatype.INDEXES) != like_index:
            raise MalformedImage(f"{subject}: the document is not what its media type says")
    if like_index:
        if media_type in mediatype.MANIFESTS:
            raise MalformedImage(f"{subject}: an index where a manifest was announced")
        return _decode(data, Index, subject=subject, what="index")
    if media_type in mediatype.INDEXES:
        raise MalformedImage(f"{subject}: a manifest where an index was announced")
    return _checked(_decode(data, Manifest, subject=subject, what="manifest"), subject=subject)


def parse_config(data: bytes, *, manifest: Manifest, subject: str) -> ImageConfig:
    """The configuration of the image of `manifest`, with one diff ID for every layer."""
    if len(data) > MAX_CONFIG:
        raise MalformedImage(f"{subject}: the configuration is larger than {MAX_CONFIG} bytes")
    config = _decode(data, ImageConfig, subject=subject, what="configuration")
    diff_ids = config.rootfs.diff_ids or ()
    if len(diff_ids) != len(manifest.layers):
        raise MalformedImage(
            f"{subject}: the manifest has {len(manifest.layers)} layers, the configuration"
            f" {len(diff_ids)}"
        )
    for diff_id in diff_ids:
        check_digest(diff_id, subject=subject)
    if any("\0" in text for text in (*(config.config.env or ()), config.config.working_dir)):
        raise MalformedImage(f"{subject}: the configuration has a NUL byte in its environment")
    return config


def check_digest(text: str, *, subject: str) -> Digest:
    """The digest that a document holds. Raises MalformedImage."""
    try:
        return parse_digest(text)
    except UserError as error:
        raise MalformedImage(f"{subject}: {error.message[:200]}") from None


def _checked(manifest: Manifest, *, subject: str) -> Manifest:
    for descriptor in (manifest.config, *manifest.layers):
        _check_descriptor(descriptor, subject=subject)
    if manifest.config.size > MAX_CONFIG:
        raise MalformedImage(f"{subject}: the configuration is larger than {MAX_CONFIG} bytes")
    for layer in manifest.layers:
        try:
            compression_of(layer.media_type)
        except MalformedImage as error:
            raise MalformedImage(f"{subject}: {error.message}", hint=error.hint) from None
    return manifest


def _check_descriptor(descriptor: Descriptor, *, subject: str) -> None:
    check_digest(descriptor.digest, subject=subject)
    if descriptor.size < 0:
        raise MalformedImage(f"{subject}: {descriptor.digest} has a negative size")


def _decode(data: bytes, kind: type[_Document], *, subject: str, what: str) -> _Document:
    try:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError:
            # Go writes and reads null for every empty value; only documents that do so pay for it.
            return msgspec.convert(_without_nulls(msgspec.json.decode(data)), kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise MalformedImage(f"{subject}: the {what} is malformed: {str(error)[:200]}") from None


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON is what it is
    match value:
        case dict():
            return {key: _without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
    return value
