"""A blob index in memory."""

from __future__ import annotations

from lamina.content.blob import KnownBlob
from lamina.layer.stack import Layer
from lamina.oci.digest import Digest


class MemoryBlobIndex:
    """`lamina.exporter.layerports.BlobIndex` for as long as the process lives."""

    def __init__(self) -> None:
        self._blobs: dict[tuple[Digest, str], KnownBlob] = {}
        self._layers: dict[Digest, Digest] = {}

    def blob(self, layer: Digest, form: str) -> KnownBlob | None:
        return self._blobs.get((layer, form))

    def add_blob(self, layer: Digest, form: str, blob: KnownBlob) -> None:
        self._blobs[layer, form] = blob

    def layer_of(self, diff_id: Digest) -> Digest | None:
        return self._layers.get(diff_id)

    def claimed(self, diff_id: Digest) -> Layer | None:
        return None

    def add_layer(self, diff_id: Digest, layer: Digest) -> None:
        self._layers[diff_id] = layer
