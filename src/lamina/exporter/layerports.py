"""What the blobs of layers are made of: the index that remembers them, and unpacked layers."""

from __future__ import annotations

from typing import Protocol

from lamina.content.blob import KnownBlob
from lamina.layer.entry import Manifest
from lamina.layer.stack import Layer
from lamina.oci.digest import Digest


class BlobIndex(Protocol):
    """Remembers the blobs of layers, across builds and processes."""

    def blob(self, layer: Digest, form: str) -> KnownBlob | None:
        """What was added for this layer in this form."""
        ...

    def add_blob(self, layer: Digest, form: str, blob: KnownBlob) -> None:
        """Remembers; what was added before for the same layer and form is replaced."""
        ...

    def layer_of(self, diff_id: Digest) -> Digest | None:
        """The layer whose plain tar has this digest, as `add_layer` said."""
        ...

    def add_layer(self, diff_id: Digest, layer: Digest) -> None:
        """Remembers which layer has a plain tar with this digest."""
        ...

    def claimed(self, diff_id: Digest) -> Layer | None:
        """The layer with this diff ID as an external cache has it, which nobody has checked."""
        ...


class LayerFiles(Protocol):
    """Unpacked layers by id."""

    def has(self, layer: Digest, /) -> bool: ...
    def manifest(self, layer: Digest, /) -> Manifest: ...
    def diff_dir(self, layer: Digest, /) -> str: ...
