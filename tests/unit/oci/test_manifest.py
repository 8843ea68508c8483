"""Documents of images as bytes."""

from __future__ import annotations

import msgspec

from lamina.oci import mediatype
from lamina.oci.config import ContainerConfig, History, ImageConfig, RootFS
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.manifest import Index, Manifest, empty_index, encode_document
from lamina.oci.platform import Platform

PLATFORM = Platform(os="linux", architecture="arm", variant="v7", os_version="1")
DESCRIPTOR = Descriptor(
    media_type=mediatype.LAYER_GZIP,
    digest=digest_of(b"layer"),
    size=5,
    annotations={"b": "2", "a": "1"},
    platform=PLATFORM,
)


def test_documents_are_read_back_as_themselves() -> None:
    """No field is lost or renamed on the way through bytes."""
    manifest = Manifest(
        schema_version=2, media_type=mediatype.MANIFEST, config=DESCRIPTOR, layers=(DESCRIPTOR,)
    )
    assert msgspec.json.decode(encode_document(manifest), type=Manifest) == manifest
    index = Index(schema_version=2, media_type=mediatype.INDEX, manifests=(DESCRIPTOR,))
    assert msgspec.json.decode(encode_document(index), type=Index) == index


def test_equal_documents_are_equal_bytes() -> None:
    """The order in which annotations were added does not show."""
    turned = msgspec.structs.replace(DESCRIPTOR, annotations={"a": "1", "b": "2"})
    assert encode_document(turned) == encode_document(DESCRIPTOR)


def test_names_are_those_of_the_specification() -> None:
    """Keys are spelled as OCI and Docker spell them."""
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        os_version="1",
        config=ContainerConfig(working_dir="/w", exposed_ports={"80/tcp": {}}, env=("A=1",)),
        rootfs=RootFS(diff_ids=(digest_of(b""),)),
        history=(History(created_by="x", empty_layer=True),),
    )
    found = msgspec.json.decode(encode_document(config))
    assert found["os.version"] == "1"
    assert found["config"] == {"WorkingDir": "/w", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=1"]}
    assert found["rootfs"]["type"] == "layers"
    assert found["history"] == [{"created_by": "x", "empty_layer": True}]
    described = msgspec.json.decode(encode_document(DESCRIPTOR))
    assert described["platform"]["os.version"] == "1"
    assert described["mediaType"] == mediatype.LAYER_GZIP


def test_an_empty_index_says_so() -> None:
    """Readers want to see the list even if it is empty."""
    assert msgspec.json.decode(encode_document(empty_index())) == {
        "schemaVersion": 2,
        "mediaType": mediatype.INDEX,
        "manifests": [],
    }
