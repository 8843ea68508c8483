"""Names of images in the local store."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import msgspec
import pytest

from lamina.content.errors import NotFound
from lamina.content.images import ImageStore
from lamina.content.layout import open_layout, parse_layout_address
from lamina.content.store import BlobStore
from lamina.errors import HostError
from lamina.oci import mediatype
from lamina.oci.config import ImageConfig, RootFS
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.manifest import Manifest, encode_document
from lamina.oci.platform import Platform
from lamina.oci.reference import parse_reference

HOST = Platform(os="linux", architecture="amd64")


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def image(blobs: BlobStore, mark: str) -> Descriptor:
    """An image as a build leaves it: its layer is known by its diff ID, and not there."""
    diff_id = digest_of(mark.encode())
    config = encode_document(
        ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=(diff_id,)))
    )
    manifest = encode_document(
        Manifest(
            schema_version=2,
            media_type=mediatype.MANIFEST,
            config=Descriptor(
                media_type=mediatype.CONFIG, digest=blobs.put(config), size=len(config)
            ),
            layers=(Descriptor(media_type=mediatype.LAYER, digest=diff_id, size=len(mark)),),
        )
    )
    return Descriptor(media_type=mediatype.MANIFEST, digest=blobs.put(manifest), size=len(manifest))


def test_a_name_means_what_it_was_given_last(blobs: BlobStore) -> None:
    """Tagging again moves the name; another store object sees it."""
    names = ImageStore(blobs)
    one, two = image(blobs, "one"), image(blobs, "two")
    app = parse_reference("app")
    assert names.get(app) is None
    names.tag(app, one)
    names.tag(parse_reference("app:v1"), one)
    names.tag(app, two)
    other = ImageStore(BlobStore(blobs.root))
    found = other.get(parse_reference("docker.io/library/app:latest"))
    assert found is not None
    assert found.digest == two.digest
    assert [str(each.reference) for each in other.list()] == [
        "docker.io/library/app:v1",
        "docker.io/library/app:latest",
    ]


def test_a_name_can_be_taken_away(blobs: BlobStore) -> None:
    """Other names of the same image stay."""
    names = ImageStore(blobs)
    one = image(blobs, "one")
    names.tag(parse_reference("a"), one)
    names.tag(parse_reference("b"), one)
    gone = names.untag(parse_reference("a:latest"))
    assert gone is not None
    assert gone.digest == one.digest
    assert names.untag(parse_reference("a")) is None
    assert [str(each.reference.familiar) for each in names.list()] == ["b:latest"]


def test_a_digest_must_be_that_of_the_repository(blobs: BlobStore) -> None:
    """`app@digest` is found under any tag of app, and under app only."""
    names = ImageStore(blobs)
    one = image(blobs, "one")
    names.tag(parse_reference("app:v1"), one)
    assert names.get(parse_reference(f"app@{one.digest}")) is not None
    assert names.get(parse_reference(f"app:v9@{one.digest}")) is not None
    assert names.get(parse_reference(f"other@{one.digest}")) is None
    assert names.get(parse_reference(f"app@{digest_of(b'x')}")) is None


def test_an_image_pulled_by_digest_gets_no_tag(blobs: BlobStore) -> None:
    """It is found by what it was asked for as, be that the digest of an index."""
    names, one = ImageStore(blobs), image(blobs, "one")
    wanted = parse_reference(f"app@{digest_of(b'index')}")
    names.tag(wanted, one)
    assert names.get(parse_reference("app")) is None
    for found in (names.get(wanted), names.get(parse_reference(f"app@{one.digest}"))):
        assert found is not None
        assert found.digest == one.digest
    assert [each.reference for each in names.list()] == [wanted]


def test_the_store_is_an_image_source(blobs: BlobStore) -> None:
    """A local image resolves without its layers; what is not there is not found."""
    names = ImageStore(blobs)
    one = image(blobs, "one")
    app = parse_reference("app")
    names.tag(app, one)
    found = names.resolve(app, HOST)
    assert found.digest == one.digest
    assert found.layers[0].diff_id == digest_of(b"one")
    with pytest.raises(NotFound):
        names.fetch(app, found.layers[0].descriptor, blobs)
    with pytest.raises(NotFound, match=r"docker\.io/library/none:latest: not found"):
        names.resolve(parse_reference("none"), HOST)


def test_an_image_of_another_platform_is_not_found(blobs: BlobStore) -> None:
    """What was pulled for one platform does not stand for another; what has no label does."""
    names = ImageStore(blobs)
    one = image(blobs, "one")
    arm = Platform(os="linux", architecture="arm64")
    names.tag(parse_reference("pulled"), msgspec.structs.replace(one, platform=HOST))
    names.tag(parse_reference("built"), one)
    assert names.resolve(parse_reference("pulled"), HOST).digest == one.digest
    assert names.resolve(parse_reference("built"), arm).digest == one.digest
    with pytest.raises(NotFound, match="for linux/arm64"):
        names.resolve(parse_reference("pulled"), arm)


def test_the_store_is_a_layout_for_others(blobs: BlobStore) -> None:
    """What is tagged here can be read as a foreign layout."""
    one = image(blobs, "one")
    ImageStore(blobs).tag(parse_reference("app:v1"), one)
    reference = parse_layout_address(f"{blobs.root}:v1")[1]
    assert open_layout(blobs.root).resolve(reference, HOST).digest == one.digest


def test_entries_of_other_tools_stay(blobs: BlobStore) -> None:
    """An entry without our name is neither listed nor lost."""
    one = image(blobs, "one")
    strange = {"mediaType": one.media_type, "digest": one.digest, "size": one.size}
    index = {"schemaVersion": 2, "manifests": [strange]}
    (blobs.root / "index.json").write_text(json.dumps(index))
    names = ImageStore(blobs)
    assert names.list() == ()
    names.tag(parse_reference("app"), one)
    names.untag(parse_reference("app"))
    kept = json.loads((blobs.root / "index.json").read_text())["manifests"]
    assert kept == [strange]


def _tag_many(root: Path, who: int) -> None:
    blobs = BlobStore(root)
    names = ImageStore(blobs)
    for number in range(20):
        names.tag(parse_reference(f"app{who}:{number}"), image(blobs, f"{who} {number}"))


def test_no_name_is_lost_between_processes(blobs: BlobStore) -> None:
    """Four processes write at once; every name is there afterwards."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_tag_many, args=(blobs.root, who)) for who in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert len(ImageStore(blobs).list()) == 80


@pytest.mark.parametrize("data", [b"", b"{", b'{"schemaVersion": 2, "manifests": [{}]}'])
def test_a_damaged_index_is_a_host_error(blobs: BlobStore, data: bytes) -> None:
    """It names the file and what to do."""
    (blobs.root / "index.json").write_bytes(data)
    with pytest.raises(HostError, match=r"index\.json is damaged") as caught:
        ImageStore(blobs).list()
    assert caught.value.hint
