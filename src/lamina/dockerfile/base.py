"""The port through which the lowering asks for base images and named contexts."""

from __future__ import annotations

from typing import Protocol

import msgspec

from lamina.graph.ops import HttpOp, LocalOp
from lamina.graph.vertex import Vertex
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What a FROM, a `--from` or a mount stands on. `config` is None for what is no image."""

    vertex: Vertex
    config: ImageConfig | None = None


class Bases(Protocol):
    """Resolves names; nothing is pulled by that but the image's manifest and configuration."""

    def image(self, reference: Reference, platform: Platform, *, name: str) -> Base:
        """The image, by its complete reference. `name` is what the user sees of the vertex.

        Raises LaminaError: not found, unauthorised, no such platform …
        """
        ...

    def modified(self, source: HttpOp | LocalOp) -> int | None:
        """When a source was last changed, in seconds since 1970; None where it has no time.

        Of a download that is what its server says, otherwise the time of its newest file if it is
        an archive. Raises LaminaError.
        """
        ...

    def has_context(self, name: str, platform: Platform) -> bool:
        """Whether `--build-context` puts something in the place of `name`."""
        ...

    def named_context(self, name: str, platform: Platform) -> Base | None:
        """What `--build-context` puts in the place of `name`, if it does."""
        ...
