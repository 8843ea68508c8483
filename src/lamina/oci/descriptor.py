"""Descriptors: what a document refers to, by digest (OCI image spec, descriptor.md)."""

from __future__ import annotations

import msgspec

from lamina.oci.digest import Digest
from lamina.oci.platform import Platform


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A reference to content: its type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = ""
