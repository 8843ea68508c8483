from __future__ import annotations

import hashlib
import json

import pytest

from lamina.content.images import ImageStore
from lamina.errors import RemoteError, UsageError
from lamina.exporter.image import BuiltImage
from lamina.exporter.oci import OciExporter
from lamina.exporter.port import ExportResult
from lamina.exporter.push import PushExporter
from lamina.layer.stack import Layer
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.reference import Reference, parse_reference
from lamina.testing.memory_target import MemoryTarget

from .conftest import ARM64, Workshop
from .test_blobs import plain_tar

APP = parse_reference("reg.example/app:v1")
ALIAS = parse_reference("reg.example/app:latest")
OTHER = parse_reference("reg.example/other:v1")
ELSEWHERE = parse_reference("reg2.example/app:v1")


def push(
    workshop: Workshop,
    target: MemoryTarget,
    images: list[BuiltImage],
    *names: Reference,
    **attributes: str,
) -> ExportResult:
    given = {key.replace("_", "-"): value for key, value in attributes.items()}
    exporter = PushExporter.parse(None, {"push": "true", **given})
    context = workshop.context(names=names, target=lambda insecure: target)
    return exporter.export(images, context)


def base_layer(workshop: Workshop, *, origin: str) -> tuple[Layer, bytes]:
    """A layer of a base image that was never downloaded, and its bytes."""
    tar = plain_tar(base=b"b")
    blob = Descriptor(media_type=mediatype.LAYER_GZIP, digest=digest_of(tar), size=len(tar))
    workshop.supply = lambda layer: workshop.content.put(tar)
    return Layer(id=digest_of(tar), blob=blob, origin=origin), tar


def test_what_is_pushed_is_what_an_archive_holds(workshop: Workshop) -> None:
    """The same digest, under every name."""
    image = workshop.image(workshop.layer({"a": b"1"}), workshop.layer({"b": b"2"}))
    target = MemoryTarget()
    result = push(workshop, target, [image], APP, ALIAS)
    archive = OciExporter.parse(str(workshop.root / "x.tar"), {}).export(
        [image], workshop.context(names=(APP, ALIAS))
    )
    assert result.pushed
    assert result.digest == archive.digest
    assert target.tags == {
        ("reg.example/app", "v1"): result.digest,
        ("reg.example/app", "latest"): result.digest,
    }
    assert result.names == ("reg.example/app:v1", "reg.example/app:latest")


def test_a_blob_is_sent_once_to_a_registry(workshop: Workshop) -> None:
    """A second repository borrows it from the first; another registry gets it again."""
    layer = workshop.layer({"a": b"1"})
    target = MemoryTarget()
    push(workshop, target, [workshop.image(layer, layer)], APP, OTHER, ELSEWHERE)
    blobs = {digest for _, digest in target.blobs}
    assert len(blobs) == 2  # the layer, and the configuration
    for digest in blobs:
        assert [what for what, of in target.said if of == digest] == ["send", "mount", "send"]


def test_what_the_registry_has_is_not_sent(workshop: Workshop) -> None:
    """A second push sends manifests alone."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    target = MemoryTarget()
    push(workshop, target, [image], APP)
    target.said.clear()
    push(workshop, target, [image], APP)
    assert target.said == [("manifest", "v1")]


def test_a_base_layer_in_the_repository_is_not_downloaded(workshop: Workshop) -> None:
    """It is there already."""
    layer, tar = base_layer(workshop, origin=f"reg.example/app@sha256:{'0' * 64}")
    target = MemoryTarget(blobs={("reg.example/app", layer.id): tar})
    push(workshop, target, [workshop.image(layer)], APP)
    assert workshop.fetched == []
    assert ("send", layer.id) not in target.said


def test_a_base_layer_in_the_registry_is_borrowed(workshop: Workshop) -> None:
    """From the base image's repository, without a download."""
    layer, tar = base_layer(workshop, origin=f"reg.example/base@sha256:{'0' * 64}")
    target = MemoryTarget(blobs={("reg.example/base", layer.id): tar})
    push(workshop, target, [workshop.image(layer)], APP)
    assert workshop.fetched == []
    assert ("mount", layer.id) in target.said


@pytest.mark.parametrize("origin", ["docker.io/library/base@sha256:" + "0" * 64, ""])
def test_a_base_layer_from_elsewhere_is_fetched_and_sent(workshop: Workshop, origin: str) -> None:
    """There is no other way."""
    layer, _ = base_layer(workshop, origin=origin)
    target = MemoryTarget()
    push(workshop, target, [workshop.image(layer)], APP)
    assert workshop.fetched == [layer]
    assert ("send", layer.id) in target.said


def test_platforms_are_an_index_behind_its_manifests(workshop: Workshop) -> None:
    """Whoever reads the tag at any moment finds everything."""
    images = [
        workshop.image(workshop.layer({"a": b"1"})),
        workshop.image(workshop.layer({"a": b"2"}), platform=ARM64),
    ]
    target = MemoryTarget()
    result = push(workshop, target, images, APP)
    assert result.digest is not None
    index = json.loads(target.manifests["reg.example/app", result.digest])
    children = [child["digest"] for child in index["manifests"]]
    order = [of for what, of in target.said if what == "manifest"]
    assert order == [*children, "v1"]


def test_by_digest_there_is_no_tag(workshop: Workshop) -> None:
    """Neither in the registry nor here."""
    target = MemoryTarget()
    image = workshop.image(workshop.layer({"a": b"1"}))
    result = push(workshop, target, [image], push_by_digest="true", name="reg.example/app")
    assert target.tags == {}
    assert ("reg.example/app", result.digest) in target.manifests
    assert result.names == ("reg.example/app",)
    assert ImageStore(workshop.content).list() == ()


@pytest.mark.parametrize(("store", "kept"), [("true", True), ("false", False)])
def test_the_local_store_gets_the_name_too(workshop: Workshop, store: str, kept: bool) -> None:
    """With the very manifest that was pushed, unless store=false."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    result = push(workshop, MemoryTarget(), [image], APP, store=store)
    found = ImageStore(workshop.content).get(APP)
    assert (found is not None and found.digest == result.digest) is kept


def test_a_failure_names_what_was_pushed(workshop: Workshop) -> None:
    """And nothing gets a tag, here or there, in whatever repository."""
    target = MemoryTarget(closed={"reg.example/other"})
    image = workshop.image(workshop.layer({"a": b"1"}), workshop.layer({"b": b"2"}))
    with pytest.raises(RemoteError) as failed:
        push(workshop, target, [image], APP, OTHER)
    message = "failed to push reg.example/other:v1: reg.example/other: denied"
    assert failed.value.message == message
    assert target.tags == {}
    assert ImageStore(workshop.content).list() == ()


def test_progress_tells_of_layers_and_manifests(workshop: Workshop) -> None:
    """In the words of buildx, each with one end."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    result = push(workshop, MemoryTarget(), [image], APP)
    ended = [what for what, now, total in workshop.said if now == total]
    assert [what for what in ended if what.startswith("pushing")] == [
        "pushing layers",
        f"pushing manifest for reg.example/app:v1@{result.digest}",
    ]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"name": "reg.example/app:v1", "push-by-digest": "true"}, "can't push tagged ref"),
        ({"push-by-digest": "perhaps"}, "non-bool value specified for push-by-digest"),
        ({"dangling-name-prefix": "x"}, "not supported"),
        ({"unpack": "true", "rewrite-timestamp": "true"}, "conflicts"),
        ({"pushh": "true"}, "did you mean push?"),
    ],
)
def test_what_cannot_be_pushed_is_refused(attributes: dict[str, str], said: str) -> None:
    """Before anything is built."""
    with pytest.raises(UsageError) as refused:
        PushExporter.parse(None, {"push": "true", **attributes})
    assert said in refused.value.message


def test_without_a_name_nothing_can_be_pushed(workshop: Workshop) -> None:
    """As buildx says it."""
    with pytest.raises(UsageError, match="tag is needed when pushing to registry"):
        push(workshop, MemoryTarget(), [workshop.image(workshop.layer({"a": b"1"}))])


def test_a_forced_compression_changes_base_layers(workshop: Workshop) -> None:
    """They are fetched, and sent in the form that was asked for."""
    import gzip

    tar = plain_tar(base=b"b")
    data = gzip.compress(tar)
    workshop.supply = lambda layer: workshop.content.put(data)
    blob = Descriptor(media_type=mediatype.LAYER_GZIP, digest=digest_of(data), size=len(data))
    layer = Layer(id=digest_of(tar), blob=blob, origin="docker.io/library/base")
    target = MemoryTarget()
    result = push(
        workshop,
        target,
        [workshop.image(layer)],
        APP,
        compression="uncompressed",
        force_compression="true",
    )
    assert result.digest is not None
    manifest = json.loads(target.manifests["reg.example/app", result.digest])
    [found] = manifest["layers"]
    assert found["digest"] == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert found["mediaType"] == mediatype.LAYER
