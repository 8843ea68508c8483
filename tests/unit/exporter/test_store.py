from __future__ import annotations

import pytest

from lamina.content.images import ImageStore
from lamina.errors import UsageError
from lamina.exporter.store import StoreExporter
from lamina.oci import mediatype
from lamina.oci.digest import digest_of
from lamina.oci.reference import parse_reference

from .conftest import AMD64, Workshop

APP = parse_reference("app:dev")


def test_a_named_image_is_documents_alone(workshop: Workshop) -> None:
    """Its layers are known by their plain tars, which nobody has written. -t replaces name=."""
    layer = workshop.layer({"a": b"1"})
    result = StoreExporter.parse(None, {"name": "other"}).export(
        [workshop.image(layer)], workshop.context(names=(APP,))
    )
    assert set(workshop.content.digests()) == {result.digest, result.image_id}
    images = ImageStore(workshop.content)
    assert [one.reference for one in images.list()] == [APP]
    found = images.resolve(APP, AMD64)
    assert found.descriptor.digest == result.digest
    assert [one.diff_id for one in found.layers] == [workshop.blobs().diff_id(layer)]
    assert found.layers[0].descriptor.media_type == mediatype.LAYER


def test_a_compression_asks_for_the_blobs(workshop: Workshop) -> None:
    """Then the manifest names them, and they are there."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    StoreExporter.parse(None, {"compression": "zstd"}).export(
        [image], workshop.context(names=(APP,))
    )
    (layer,) = ImageStore(workshop.content).resolve(APP, AMD64).layers
    assert layer.descriptor.media_type == mediatype.LAYER_ZSTD
    assert workshop.content.has(layer.descriptor.digest)


def test_rewritten_times_are_kept(workshop: Workshop) -> None:
    """No layer of the store has these bytes, so they are written at once."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    StoreExporter.parse(None, {"rewrite-timestamp": "true"}).export(
        [image], workshop.context(names=(APP,), epoch=1)
    )
    (layer,) = ImageStore(workshop.content).resolve(APP, AMD64).layers
    assert digest_of(workshop.content.read(layer.descriptor.digest)) == layer.diff_id


def test_it_has_no_destination() -> None:
    """The store is where it is."""
    with pytest.raises(UsageError):
        StoreExporter.parse("file", {})
