"""Layers from external caches: images are the same, wherever their layers were made."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from lamina.content.compression import Compression
from lamina.content.store import BlobStore
from lamina.exporter.blobs import ORIGIN, LayerBlob, LayerBlobs
from lamina.exporter.options import LayerForm
from lamina.layer.stack import Layer
from lamina.oci.digest import Digest

from .conftest import MTIME, Workshop

GZIP = LayerForm()
ZSTD = LayerForm(compression=Compression.ZSTD)
CLAMPED = LayerForm(clamp_ns=(MTIME - 100) * 10**9)


class Elsewhere:
    """Another machine, where the layer is made; here it is fetched or unpacked when asked for."""

    def __init__(self, here: Workshop, there: Path) -> None:
        there.mkdir()
        self.here = here
        self.there = Workshop(root=there, content=BlobStore(there / "content"))
        self.made = self.there.layer({"a": b"one" * 1000})
        self.unpacked: list[Layer] = []
        here.supply = lambda layer: here.content.put(self.there.content.read(blob_of(layer)))

    def layer(self, form: LayerForm = GZIP) -> Layer:
        """The layer as a cache that keeps blobs in `form` says what it is."""
        sent = self.there.blobs().blob(self.made, form)
        plain = self.there.blobs().plain(self.made)
        return Layer(
            id=self.made.id,
            blob=replace(sent.descriptor, annotations={"note": "of the cache"}),
            origin="cache",
            diff_id=sent.diff_id,
            created=1.0,
            size=plain.size,
        )

    def blobs(self) -> LayerBlobs:
        def unpack(layer: Layer) -> None:
            self.unpacked.append(layer)
            self.unpack()

        def fetch(layer: Layer) -> None:
            self.here.fetched.append(layer)
            self.here.supply(layer)

        return LayerBlobs(
            content=self.here.content,
            layers=self.here,
            index=self.here.index,
            fetch=fetch,
            unpack=unpack,
        )

    def unpack(self) -> None:
        self.here.directories |= self.there.directories
        self.here.manifests |= self.there.manifests


def blob_of(layer: Layer) -> Digest:
    assert layer.blob is not None
    return layer.blob.digest


@pytest.fixture
def elsewhere(workshop: Workshop, tmp_path: Path) -> Elsewhere:
    return Elsewhere(workshop, tmp_path / "elsewhere")


@pytest.mark.parametrize("kept", [GZIP, ZSTD], ids=["as kept", "kept otherwise"])
@pytest.mark.parametrize("form", [GZIP, CLAMPED, LayerForm(force=True)], ids=str)
@pytest.mark.parametrize("here", [False, True], ids=["not here", "unpacked"])
def test_a_layer_has_the_bytes_that_it_has_where_it_was_made(
    elsewhere: Elsewhere, kept: LayerForm, form: LayerForm, *, here: bool
) -> None:
    """Whatever the cache keeps, and whatever is here already."""
    layer = elsewhere.layer(kept)
    if here:
        elsewhere.unpack()
    wanted = elsewhere.there.blobs().blob(elsewhere.made, form)
    assert elsewhere.blobs().blob(layer, form) == wanted
    assert elsewhere.here.content.has(wanted.descriptor.digest)


def test_a_blob_that_is_right_is_fetched_and_nothing_else_done(elsewhere: Elsewhere) -> None:
    """No file of it is written."""
    elsewhere.blobs().blob(elsewhere.layer(), GZIP)
    assert len(elsewhere.here.fetched) == 1
    assert elsewhere.unpacked == []


def test_what_is_unpacked_here_is_not_fetched(elsewhere: Elsewhere) -> None:
    """It is compressed again, which is nearer."""
    elsewhere.unpack()
    elsewhere.blobs().blob(elsewhere.layer(), GZIP)
    assert elsewhere.here.fetched == []


def test_digests_are_known_without_a_byte(elsewhere: Elsewhere) -> None:
    """Those of the plain tar, of the compressed blob, and of what a name in the store refers to."""
    layer, blobs = elsewhere.layer(), elsewhere.blobs()
    theirs = elsewhere.there.blobs()
    assert blobs.diff_id(layer) == theirs.diff_id(elsewhere.made)
    assert blobs.foreseen(layer, GZIP) == theirs.foreseen(elsewhere.made, GZIP)
    assert blobs.references((layer,)) == theirs.references((elsewhere.made,))
    assert elsewhere.here.fetched == elsewhere.unpacked == []


def test_a_layer_of_unknown_size_is_named_by_its_blob(elsewhere: Elsewhere) -> None:
    """With its origin, so that it can be fetched later."""
    layer = replace(elsewhere.layer(), size=0)
    assert layer.blob is not None
    (reference,) = elsewhere.blobs().references((layer,))
    assert reference.descriptor.digest == layer.blob.digest
    assert reference.descriptor.annotations[ORIGIN] == "cache"
    assert reference.diff_id == layer.diff_id


def test_a_layer_of_the_local_store_is_found_in_the_cache_that_it_came_from(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image in the store names it by a plain tar that was never here."""
    layer = elsewhere.layer()
    (reference,) = elsewhere.blobs().references((layer,))
    assert isinstance(reference, LayerBlob)
    monkeypatch.setattr(elsewhere.here.index, "claimed", lambda wanted: layer)
    stored = Layer(id=reference.diff_id, blob=reference.descriptor, origin="app:dev")
    wanted = elsewhere.there.blobs().blob(elsewhere.made, GZIP)
    assert elsewhere.blobs().blob(stored, GZIP) == wanted
    assert elsewhere.here.fetched == [layer]
