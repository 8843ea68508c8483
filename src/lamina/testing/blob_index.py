"""A blob index in memory."""

from __future__ import annotations

from lamina.exporter.blobs import BlobFacts
from lamina.oci.digest import Digest


class MemoryBlobIndex:
    """`lamina.exporter.blobs.BlobIndex` for as long as the process lives."""

    def __init__(self) -> None:
        self._facts: dict[tuple[Digest, str], BlobFacts] = {}
        self._layers: dict[Digest, Digest] = {}

    def get(self, layer: Digest, form: str) -> BlobFacts | None:
        return self._facts.get((layer, form))

    def put(self, layer: Digest, form: str, facts: BlobFacts) -> None:
        self._facts[layer, form] = facts

    def layer_of(self, diff_id: Digest) -> Digest | None:
        return self._layers.get(diff_id)

    def put_layer(self, diff_id: Digest, layer: Digest) -> None:
        self._layers[diff_id] = layer
