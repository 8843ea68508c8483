"""A file tree as a stack of layers, without its files."""

from __future__ import annotations

import msgspec

from lamina.errors import HostError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest


class Layer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One layer of a stack.

    `id` identifies its content: that of its manifest where a step made the layer, its diff ID
    where it came with an image. `blob` is the compressed layer that it came as, and `origin` the
    image or external cache to fetch that from; both are None and "" for a layer that was made here.

    A layer from an external cache was made by a step, elsewhere: `diff_id` is the digest of its
    plain tar, `size` the length of that in bytes (0: not known), and `created` when it was made, in
    seconds since 1970. Without a blob it cannot be had.
    """

    id: Digest
    blob: Descriptor | None = None
    origin: str = ""
    diff_id: Digest | None = None
    created: float | None = None
    size: int = 0

    @property
    def pulled(self) -> bool:
        """Whether `id` is a diff ID."""
        return self.blob is not None and self.diff_id is None


Stack = tuple[Layer, ...]
"""Layers, lowest first."""


class LayerLost(HostError):
    """A layer of a known result is not here, and cannot be fetched: the step has to run again."""
