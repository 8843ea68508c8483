"""Images in foreign layouts: found by name, digest and platform, and never trusted."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lamina.content.compression import Compression
from lamina.content.errors import MalformedImage, NoMatchingPlatform, NotFound, WrongDigest
from lamina.content.layout import open_layout, parse_layout_address
from lamina.content.source import ResolvedImage
from lamina.content.store import BlobStore
from lamina.errors import LaminaError, UserError
from lamina.oci import mediatype
from lamina.oci.digest import digest_of
from lamina.oci.platform import Platform, parse_platform
from lamina.oci.reference import Reference, parse_reference

HOST = Platform(os="linux", architecture="amd64")
Json = dict[str, Any]


class Maker:
    """Writes layouts, good and bad."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs" / "sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.entries: list[Json] = []

    def blob(self, data: bytes | Json, media_type: str = "", **fields: object) -> Json:
        if isinstance(data, dict):
            data = json.dumps(data).encode()
        digest = digest_of(data)
        (self.root / "blobs" / "sha256" / digest[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **fields}

    def image(
        self,
        platform: str = "linux/amd64",
        *,
        count: int = 2,
        mark: str = "",
        config_json: Json | None = None,
        **changes: object,
    ) -> Json:
        """A whole image; `changes` replace fields of its manifest, `config_json` of its config."""
        parsed = parse_platform(platform, host=HOST)
        plain = [f"{mark}{platform} layer {number}".encode() for number in range(count)]
        config: Json = {
            "architecture": parsed.architecture,
            "os": parsed.os,
            "variant": parsed.variant,
            "config": {"Env": ["A=1"], "Labels": None},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in plain]},
            "history": None,
        }
        manifest: Json = {
            "schemaVersion": 2,
            "mediaType": mediatype.MANIFEST,
            "config": self.blob({**config, **(config_json or {})}, mediatype.CONFIG),
            "layers": [self.blob(each, mediatype.LAYER) for each in plain],
        }
        return self.blob({**manifest, **changes}, mediatype.MANIFEST)

    def index(self, *manifests: Json, **changes: object) -> Json:
        document = {"schemaVersion": 2, "mediaType": mediatype.INDEX, "manifests": list(manifests)}
        return self.blob({**document, **changes}, mediatype.INDEX)

    def add(self, entry: Json, name: str | None = None) -> Json:
        if name:
            annotations = {"org.opencontainers.image.ref.name": name}
            entry = {**entry, "annotations": annotations}
        self.entries.append(entry)
        document = {"schemaVersion": 2, "manifests": self.entries}
        (self.root / "index.json").write_text(json.dumps(document))
        return entry

    def resolve(self, address: str = "", platform: str = "linux/amd64") -> ResolvedImage:
        reference = parse_layout_address(f"{self.root}{address}")[1]
        return open_layout(self.root).resolve(reference, parse_platform(platform, host=HOST))


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "layout")


def named(platform: str, entry: Json) -> Json:
    parsed = parse_platform(platform, host=HOST)
    found = {"os": parsed.os, "architecture": parsed.architecture, "variant": parsed.variant}
    return {**entry, "platform": found}


def test_an_image_is_resolved_with_its_layers(maker: Maker) -> None:
    """Manifest, configuration, platform, layers and diff IDs are what was written."""
    entry = maker.add(maker.image(), "v1")
    image = maker.resolve(":v1")
    assert image.descriptor.digest == image.digest == entry["digest"]
    assert image.index is None
    assert digest_of(image.manifest_data) == entry["digest"]
    assert digest_of(image.config_data) == image.manifest.config.digest
    assert str(image.platform) == "linux/amd64"
    assert image.config.config.env == ("A=1",)
    assert [layer.diff_id for layer in image.layers] == [
        digest_of(b"linux/amd64 layer 0"),
        digest_of(b"linux/amd64 layer 1"),
    ]
    assert image.layers[0].compression is Compression.UNCOMPRESSED


def test_names_choose(maker: Maker) -> None:
    """By tag, by digest, `latest` without either; digests win over tags."""
    one = maker.add(maker.image(mark="1"), "v1")
    latest = maker.add(maker.image(mark="2"), "latest")
    assert maker.resolve(":v1").digest == one["digest"]
    assert maker.resolve().digest == latest["digest"]
    assert maker.resolve(f"@{one['digest']}").digest == one["digest"]
    assert maker.resolve(f":latest@{one['digest']}").digest == one["digest"]
    hidden = maker.image(mark="3")
    assert maker.resolve(f"@{hidden['digest']}").digest == hidden["digest"]


def test_the_only_image_needs_no_name(maker: Maker) -> None:
    """Whatever it is called."""
    entry = maker.add(maker.image(), "docker.io/library/app:v1")
    assert maker.resolve().digest == maker.resolve(":v1").digest == entry["digest"]


def test_unknown_names_tell_what_there_is(maker: Maker) -> None:
    """The hint lists the names; several images without `latest` are not guessed from."""
    maker.add(maker.image(mark="1"), "v1")
    maker.add(maker.image(mark="2"), "v2")
    with pytest.raises(NotFound, match=r":v3: not found") as caught:
        maker.resolve(":v3")
    assert "v1, v2" in (caught.value.hint or "")
    with pytest.raises(UserError, match="several images"):
        maker.resolve()
    with pytest.raises(NotFound, match="not found"):
        maker.resolve(f"@{digest_of(b'?')}")


def test_platforms_choose(maker: Maker) -> None:
    """From an index, nested or not; attestations are no images; nothing suitable is an error."""
    amd, arm7, arm6 = (
        maker.image(each) for each in ("linux/amd64", "linux/arm/v7", "linux/arm/v6")
    )
    inner = maker.index(named("linux/arm/v6", arm6), named("linux/arm/v7", arm7))
    attestation = maker.image(mark="attestation")
    unknown = {"os": "unknown", "architecture": "unknown"}
    top = maker.index({**attestation, "platform": unknown}, named("linux/amd64", amd), inner)
    maker.add(top, "v1")
    image = maker.resolve(":v1")
    assert image.descriptor.digest == amd["digest"]
    assert image.index is not None
    assert image.digest == image.index.digest == top["digest"]
    assert maker.resolve(":v1", "linux/arm/v7").descriptor.digest == arm7["digest"]
    assert maker.resolve(":v1", "linux/arm/v6").descriptor.digest == arm6["digest"]
    assert maker.resolve(":v1", "linux/arm64").descriptor.digest == arm7["digest"]
    with pytest.raises(NoMatchingPlatform) as caught:
        maker.resolve(":v1", "linux/s390x")
    assert [str(each) for each in caught.value.offered] == [
        "linux/amd64",
        "linux/arm/v6",
        "linux/arm/v7",
    ]
    assert "linux/s390x is not offered, there is linux/amd64, linux/arm" in caught.value.message


def test_an_unlabelled_manifest_tells_its_platform_itself(maker: Maker) -> None:
    """An index without platforms is chosen from by the configurations."""
    amd, arm = maker.image("linux/amd64"), maker.image("linux/arm64")
    maker.add(maker.index(arm, amd))
    assert maker.resolve().descriptor.digest == amd["digest"]
    assert maker.resolve("", "linux/arm64").descriptor.digest == arm["digest"]


def test_a_lone_manifest_is_taken_for_any_platform(maker: Maker) -> None:
    """There is nothing to choose; its own platform is told, for whoever wants to warn."""
    maker.add(maker.image("linux/arm64"))
    assert str(maker.resolve().platform) == "linux/arm64"


def test_several_manifests_of_one_name_are_platforms(maker: Maker) -> None:
    """Some tools write one entry a platform in place of an index."""
    for platform in ("linux/amd64", "linux/arm64"):
        maker.add(named(platform, maker.image(platform)), "v1")
    assert str(maker.resolve(":v1", "linux/arm64").platform) == "linux/arm64"


def test_blobs_are_copied_and_verified(maker: Maker, tmp_path: Path) -> None:
    """A good layer arrives with its progress told, an altered one does not arrive."""
    maker.add(maker.image())
    store = BlobStore(tmp_path / "store")
    layout = open_layout(maker.root)
    reference = parse_reference("any")
    image = layout.resolve(Reference(domain="layout", path="image"), HOST)
    first, second = (layer.descriptor for layer in image.layers)
    told: list[int] = []
    layout.fetch(reference, first, store, progress=told.append)
    assert store.read(first.digest) == b"linux/amd64 layer 0"
    assert sum(told) == first.size
    (maker.root / "blobs" / "sha256" / second.digest[7:]).write_bytes(b"linux/amd64 layer X")
    with pytest.raises(WrongDigest):
        layout.fetch(reference, second, store)
    (maker.root / "blobs" / "sha256" / second.digest[7:]).unlink()
    with pytest.raises(NotFound, match="missing"):
        layout.fetch(reference, second, store)
    assert not store.has(second.digest)


def test_an_altered_document_is_refused(maker: Maker) -> None:
    """The manifest's bytes must be those of its digest."""
    entry = maker.add(maker.image())
    path = maker.root / "blobs" / "sha256" / entry["digest"][7:]
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(WrongDigest):
        maker.resolve()


def nested(maker: Maker, depth: int) -> Json:
    entry = maker.image()
    for _ in range(depth):
        entry = maker.index(entry)
    return entry


BAD: dict[str, Any] = {
    "not JSON": lambda m: m.blob(b"{", mediatype.MANIFEST),
    "not an object": lambda m: m.blob(b"[]", mediatype.MANIFEST),
    "deep nonsense": lambda m: m.blob(b"[" * 100_000, mediatype.MANIFEST),
    "not UTF-8": lambda m: m.blob(b'{"schemaVersion": 2, "x": "\xff"}', mediatype.MANIFEST),
    "schema 1": lambda m: m.blob({"schemaVersion": 1, "fsLayers": []}, mediatype.MANIFEST),
    "no config": lambda m: m.image(config=None),
    "both at once": lambda m: m.image(manifests=[]),
    "index type on a manifest": lambda m: m.image(mediaType=mediatype.INDEX),
    "manifest type on an index": lambda m: m.index(mediaType=mediatype.MANIFEST),
    "manifest announced as index": lambda m: {**m.image(), "mediaType": mediatype.INDEX},
    "index announced as manifest": lambda m: {**m.index(), "mediaType": mediatype.MANIFEST},
    "path for a digest": lambda m: m.image(
        layers=[{"mediaType": mediatype.LAYER, "digest": "sha256:../../../etc/passwd", "size": 1}]
    ),
    "path in an index": lambda m: m.index(
        {"mediaType": mediatype.MANIFEST, "digest": "../../x", "size": 1}
    ),
    "negative size": lambda m: m.image(
        layers=[{"mediaType": mediatype.LAYER, "digest": digest_of(b""), "size": -1}]
    ),
    "size as text": lambda m: m.image(
        layers=[{"mediaType": mediatype.LAYER, "digest": digest_of(b""), "size": "many"}]
    ),
    "foreign layer": lambda m: m.image(
        layers=[m.blob(b"x", mediatype.DOCKER_FOREIGN_LAYER_GZIP)] * 2
    ),
    "layer of no known type": lambda m: m.image(layers=[m.blob(b"x", "text/plain")] * 2),
    "layer without diff ID": lambda m: m.image(layers=[m.blob(b"x", mediatype.LAYER)]),
    "diff IDs without a layer": lambda m: m.image(layers=[]),
    "config is no config": lambda m: m.image(config_json={"os": 1}),
    "diff ID is none": lambda m: m.image(
        count=1,
        config_json={
            "architecture": "a",
            "os": "b",
            "rootfs": {"type": "layers", "diff_ids": ["x"]},
        },
    ),
    "huge config": lambda m: m.image(
        config={"mediaType": mediatype.CONFIG, "digest": digest_of(b""), "size": 1 << 40}
    ),
    "huge manifest": lambda m: m.image(annotations={"a": "x" * (5 << 20)}),
    "too deep": lambda m: nested(m, 8),
    "too many": lambda m: m.index(*(m.index(mark=str(number)) for number in range(100))),
}


@pytest.mark.parametrize("what", BAD)
def test_malformed_images_are_refused(maker: Maker, what: str) -> None:
    """One clear error, whatever is wrong with a document."""
    maker.add(BAD[what](maker))
    with pytest.raises(MalformedImage) as caught:
        maker.resolve()
    assert len(caught.value.message) < 600
    assert "Traceback" not in caught.value.message


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"manifests": 3}', b"\xff\xfe"])
def test_a_malformed_index_file_is_refused(maker: Maker, data: bytes) -> None:
    """Of `index.json`, too."""
    (maker.root / "index.json").write_bytes(data)
    with pytest.raises(MalformedImage, match=r"index\.json"):
        maker.resolve()


def test_a_pipe_is_no_blob(maker: Maker) -> None:
    """A named pipe in the place of a blob neither hangs nor is read."""
    entry = maker.add(maker.image())
    path = maker.root / "blobs" / "sha256" / entry["digest"][7:]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(MalformedImage, match="not a file"):
        maker.resolve()


def test_nulls_are_empty(maker: Maker) -> None:
    """As in Go, which writes null for what is empty."""
    entry = maker.image(annotations=None, subject=None)
    maker.add({**entry, "annotations": None, "platform": None})
    assert len(maker.resolve().layers) == 2


def test_a_tar_is_as_good_as_a_folder(maker: Maker, tmp_path: Path) -> None:
    """Nothing is unpacked; members may be called `./index.json`."""
    maker.add(maker.image(), "v1")
    for number, prefix in enumerate((".", "")):
        archive = tmp_path / f"{number}.tar"
        with tarfile.open(archive, "w") as tar:
            for file in sorted(maker.root.rglob("*")):
                tar.add(
                    file, f"{prefix}/{file.relative_to(maker.root)}".lstrip("/"), recursive=False
                )
        layout = open_layout(archive)
        reference = parse_layout_address(f"{archive}:v1")[1]
        image = layout.resolve(reference, HOST)
        store = BlobStore(tmp_path / f"store{number}")
        layout.fetch(reference, image.layers[1].descriptor, store)
        assert store.read(image.layers[1].descriptor.digest) == b"linux/amd64 layer 1"


@pytest.mark.parametrize("content", [b"", b"\0" * 10240, b"\x1f\x8b\x08\0junk", b"text" * 500])
def test_other_files_are_no_layouts(tmp_path: Path, content: bytes) -> None:
    """One clear error for a file that is no archive of an image."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError):
        open_layout(tmp_path / "file")


def test_folders_and_nothing_are_no_layouts(tmp_path: Path) -> None:
    """An empty folder and a missing path each get a sentence."""
    with pytest.raises(UserError, match="neither an OCI image layout"):
        open_layout(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        open_layout(tmp_path / "missing")


@pytest.mark.parametrize(
    ("text", "path", "tag", "digest"),
    [
        ("a/b", "a/b", None, None),
        ("a/b:v1", "a/b", "v1", None),
        ("/a:b/c", "/a:b/c", None, None),
        ("./x@" + digest_of(b""), "./x", None, digest_of(b"")),
        ("x:v1@" + digest_of(b""), "x", "v1", digest_of(b"")),
        ("a@b/c", "a@b/c", None, None),
    ],
)
def test_addresses(text: str, path: str, tag: str | None, digest: str | None) -> None:
    """`path[:tag][@digest]`; colons and at signs inside a path belong to it."""
    found, reference = parse_layout_address(text)
    assert (found, reference.tag, reference.digest) == (path, tag, digest)


@pytest.mark.parametrize("text", ["", ":v1", "x@sha256:12"])
def test_addresses_that_are_none(text: str) -> None:
    """An address without a path, or with half a digest, is refused."""
    with pytest.raises(LaminaError):
        parse_layout_address(text)
