from __future__ import annotations

import json

import pytest

from lamina.content.images import ImageStore, NamedImage
from lamina.exporter.image import BuiltImage
from lamina.exporter.meter import silent
from lamina.exporter.push import PushExporter, shipping
from lamina.exporter.store import StoreExporter
from lamina.exporter.stored import Departure
from lamina.exporter.upload import Upload
from lamina.layer.stack import Layer
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.oci.platform import Platform
from lamina.oci.reference import parse_reference
from lamina.testing.memory_target import MemoryTarget

from .conftest import ARM64, Workshop
from .test_blobs import plain_tar

APP = parse_reference("reg.example/app:v1")


def stored(workshop: Workshop, *images: BuiltImage, **attributes: str) -> Descriptor:
    """What the name means after `type=image`."""
    StoreExporter.parse(None, attributes).export(images, workshop.context(names=(APP,)))
    descriptor = ImageStore(workshop.content).get(APP)
    assert descriptor is not None
    return descriptor


def pushed(
    workshop: Workshop,
    descriptor: Descriptor,
    target: MemoryTarget,
    platform: Platform | None = None,
) -> Digest:
    """The digest under which a stored image arrives."""
    with Upload(target, workshop.content, [APP]) as upload:
        departure = Departure(
            image=NamedImage(reference=APP, descriptor=descriptor),
            content=workshop.content,
            upload=upload,
            layers=shipping(upload, workshop.blobs(), silent),
            fetch=workshop.fetched.append,
        )
        shipment = departure.shipment(platform)
        upload.finish(shipment, silent)
    return target.tags["reg.example/app", "v1"]


def by_build(workshop: Workshop, *images: BuiltImage) -> Digest:
    """The digest that `build --push` gives."""
    target = MemoryTarget()
    PushExporter.parse(None, {"push": "true"}).export(
        images, workshop.context(names=(APP,), target=lambda insecure: target)
    )
    return target.tags["reg.example/app", "v1"]


def test_push_gives_what_build_with_push_gives(workshop: Workshop) -> None:
    """Layers that nobody had written are compressed on their way."""
    image = workshop.image(workshop.layer({"a": b"1"}), workshop.layer({"b": b"2"}))
    target = MemoryTarget()
    digest = pushed(workshop, stored(workshop, image), target)
    assert digest == by_build(workshop, image)
    manifest = json.loads(target.manifests["reg.example/app", digest])
    assert {layer["mediaType"] for layer in manifest["layers"]} == {mediatype.LAYER_GZIP}


def test_an_index_is_pushed_whole(workshop: Workshop) -> None:
    """The same as from the build."""
    images = [
        workshop.image(workshop.layer({"a": b"1"})),
        workshop.image(workshop.layer({"a": b"2"}), platform=ARM64),
    ]
    digest = pushed(workshop, stored(workshop, *images), MemoryTarget())
    assert digest == by_build(workshop, *images)


def test_one_platform_of_an_index(workshop: Workshop) -> None:
    """Its manifest gets the name, as if there were no other."""
    images = [
        workshop.image(workshop.layer({"a": b"1"})),
        workshop.image(workshop.layer({"a": b"2"}), platform=ARM64),
    ]
    digest = pushed(workshop, stored(workshop, *images), MemoryTarget(), ARM64)
    assert digest == by_build(workshop, images[1])


@pytest.mark.parametrize("compression", ["zstd", "uncompressed", "gzip"])
def test_what_was_written_stays_as_it_is(workshop: Workshop, compression: str) -> None:
    """A compression that was chosen for the local store is kept."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    descriptor = stored(workshop, image, compression=compression)
    assert pushed(workshop, descriptor, MemoryTarget()) == descriptor.digest


def test_a_missing_base_layer_is_borrowed_where_it_came_from(workshop: Workshop) -> None:
    """The manifest that leaves does not tell where that was."""
    tar = plain_tar(base=b"b")
    blob = Descriptor(media_type=mediatype.LAYER, digest=digest_of(tar), size=len(tar))
    base = Layer(id=digest_of(tar), blob=blob, origin=f"reg.example/base@sha256:{'0' * 64}")
    target = MemoryTarget(blobs={("reg.example/base", base.id): tar})
    digest = pushed(workshop, stored(workshop, workshop.image(base)), target)
    assert ("mount", base.id) in target.said
    assert b"lamina" not in target.manifests["reg.example/app", digest]
    assert workshop.fetched == []
