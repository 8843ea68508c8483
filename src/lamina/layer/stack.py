"""A file tree as a stack of layers, without its files."""

from __future__ import annotations

import msgspec

from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest


class Layer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One layer of a stack.

    `id` identifies its content: that of its manifest where the layer was made here, its diff ID
    where it was pulled. `blob` is the compressed layer that it came as, and `origin` the image to
    fetch that from; both are None and "" for a layer that was made here.
    """

    id: Digest
    blob: Descriptor | None = None
    origin: str = ""

    @property
    def pulled(self) -> bool:
        """Whether `id` is a diff ID."""
        return self.blob is not None


Stack = tuple[Layer, ...]
"""Layers, lowest first."""
