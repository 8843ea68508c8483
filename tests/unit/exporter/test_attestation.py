from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lamina.errors import UsageError, UserError
from lamina.exporter.annotations import parse_flags
from lamina.exporter.attestation import package_url
from lamina.exporter.docker import DockerExporter
from lamina.exporter.image import Attestation, BuiltImage
from lamina.exporter.local import LocalExporter
from lamina.exporter.oci import OciExporter
from lamina.exporter.store import StoreExporter
from lamina.exporter.tar import TarExporter
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.oci.platform import Platform
from lamina.oci.reference import parse_reference

from .conftest import AMD64, ARM64, MTIME, Workshop

TYPE = "https://example.org/said/v1"
APP = parse_reference("app:dev")
DIGEST = digest_of(b"")
Json = dict[str, Any]


def predicate(layers: Mapping[Digest, Descriptor], epoch: int | None) -> bytes:
    return msgspec.json.encode({"layers": {k: v.digest for k, v in layers.items()}, "at": epoch})


def said_of(image: BuiltImage, **changes: object) -> BuiltImage:
    """The image with something said about it."""
    note = Attestation(predicate_type=TYPE, predicate=predicate, made=MTIME + 0.5)
    note = msgspec.structs.replace(note, **changes)
    return msgspec.structs.replace(image, attestation=note)


def exported(
    workshop: Workshop, *images: BuiltImage, attributes: Mapping[str, str] = {}, **context: object
) -> tuple[Json, dict[str, bytes]]:
    """What the archive's index points at, and the blobs by digest."""
    dest = workshop.root / "out.tar"
    OciExporter.parse(str(dest), dict(attributes)).export(images, workshop.context(**context))
    with tarfile.open(dest) as tar:
        files = {one.name: (tar.extractfile(one) or io.BytesIO()).read() for one in tar}
    blobs = {f"sha256:{name[13:]}": data for name, data in files.items() if name[:6] == "blobs/"}
    (top,) = json.loads(files["index.json"])["manifests"]
    return json.loads(blobs[top["digest"]]), blobs


def test_a_statement_stands_beside_its_image(workshop: Workshop) -> None:
    """One image becomes an index; the statement names the image, its type, and nobody's platform.

    It is told the blobs that the image has.
    """
    layer = workshop.layer({"a": b"1"})
    index, blobs = exported(workshop, said_of(workshop.image(layer)), names=(APP,))
    image, note = index["manifests"]
    assert image["platform"] == {"architecture": "amd64", "os": "linux"}
    assert note["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert note["annotations"] == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    }
    manifest = json.loads(blobs[note["digest"]])
    assert manifest["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json"
    assert manifest["subject"] == {key: image[key] for key in ("mediaType", "digest", "size")}
    assert blobs[manifest["config"]["digest"]] == b"{}"
    (held,) = manifest["layers"]
    assert held["mediaType"] == "application/vnd.in-toto+json"
    assert held["annotations"] == {"in-toto.io/predicate-type": TYPE}
    (blob,) = json.loads(blobs[image["digest"]])["layers"]
    assert json.loads(blobs[held["digest"]]) == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": TYPE,
        "subject": [
            {
                "name": "pkg:docker/app@dev?platform=linux%2Famd64",
                "digest": {"sha256": image["digest"][7:]},
            }
        ],
        "predicate": {"layers": {layer.id: blob["digest"]}, "at": None},
    }


def test_an_image_without_a_name_is_still_a_subject(workshop: Workshop) -> None:
    """A statement about nothing would say nothing."""
    index, blobs = exported(workshop, said_of(workshop.image(workshop.layer({"a": b"1"}))))
    image, note = index["manifests"]
    held = json.loads(blobs[note["digest"]])["layers"][0]
    subjects = json.loads(blobs[held["digest"]])["subject"]
    assert subjects == [{"name": "_", "digest": {"sha256": image["digest"][7:]}}]


def test_every_platform_has_its_statement_after_the_images(workshop: Workshop) -> None:
    """Readers of old take the first manifest that they find. One image may say nothing."""
    layer = workshop.layer({"a": b"1"})
    images = [workshop.image(layer, platform=platform) for platform in (AMD64, ARM64)]
    index, _ = exported(workshop, *map(said_of, images))
    first, second, *notes = index["manifests"]
    assert [note["annotations"]["vnd.docker.reference.digest"] for note in notes] == [
        first["digest"],
        second["digest"],
    ]
    index, _ = exported(workshop, images[0], said_of(images[1]))
    assert len(index["manifests"]) == 3


def test_the_form_before_oci_artifacts(workshop: Workshop) -> None:
    """With oci-artifact=false it is an image for nobody, whose layer is the statement."""
    image = said_of(workshop.image(workshop.layer({"a": b"1"})))
    index, blobs = exported(workshop, image, attributes={"oci-artifact": "false"})
    manifest = json.loads(blobs[index["manifests"][1]["digest"]])
    assert "subject" not in manifest
    assert "artifactType" not in manifest
    config = json.loads(blobs[manifest["config"]["digest"]])
    assert (config["os"], config["architecture"]) == ("unknown", "unknown")
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]


def test_inline_only_makes_no_index_of_an_archive(workshop: Workshop) -> None:
    """Unless the output says so, or there is an index anyway; and it is no file."""
    layer = workshop.layer({"a": b"1"})
    image = said_of(workshop.image(layer), inline_only=True)
    assert "layers" in exported(workshop, image)[0]
    inline = {"attestation-inline": "true"}
    assert len(exported(workshop, image, attributes=inline)[0]["manifests"]) == 2
    assert len(exported(workshop, image, multi_platform=True)[0]["manifests"]) == 2
    dest = workshop.root / "files"
    LocalExporter.parse(str(dest), {}).export([image], workshop.context())
    assert os.listdir(dest) == ["a"]


def test_the_local_store_keeps_statements(workshop: Workshop) -> None:
    """Its index holds them, whatever they ask of other outputs."""
    image = said_of(workshop.image(workshop.layer({"a": b"1"})), inline_only=True)
    context = workshop.context(names=(APP,))
    result = StoreExporter.parse(None, {}).export([image], context)
    assert result.image_id is None
    assert result.digest is not None
    assert len(json.loads(workshop.content.read(result.digest))["manifests"]) == 2


def test_outputs_that_have_no_index_refuse(workshop: Workshop) -> None:
    """A docker archive has one image, and Docker's index knows no statements."""
    image = said_of(workshop.image(workshop.layer({"a": b"1"})))
    with pytest.raises(UsageError, match="manifest lists"):
        DockerExporter.parse(str(workshop.root / "x"), {}).export([image], workshop.context())
    with pytest.raises(UsageError, match="cannot export attestations"):
        exported(workshop, image, attributes={"oci-mediatypes": "false"})
    with pytest.raises(UsageError, match="conflicts"):
        OciExporter.parse("x", {"oci-mediatypes": "false", "oci-artifact": "true"})


def test_an_index_of_one_image_may_have_annotations(workshop: Workshop) -> None:
    """There is an index to write them into."""
    image = said_of(workshop.image(workshop.layer({"a": b"1"})))
    index, _ = exported(workshop, image, annotations=parse_flags({"index:k": "v"}))
    assert index["annotations"] == {"k": "v"}


def test_a_folder_gets_the_statement_as_a_file(workshop: Workshop) -> None:
    """Readable for its owner alone; its subjects are the files, hard links too; times are told."""
    root = workshop.root / "files"
    (root / "d").mkdir(parents=True)
    (root / "d" / "a").write_bytes(b"1")
    os.link(root / "d" / "a", root / "z")
    (root / "link").symlink_to("z")
    (root / "provenance.json").write_bytes(b"the image's own")
    image, dest = said_of(workshop.image(workshop.adopt(root))), workshop.root / "dest"
    LocalExporter.parse(str(dest), {}).export([image], workshop.context())
    made = (dest / "provenance.json").stat()
    assert stat.S_IMODE(made.st_mode) == 0o600
    assert made.st_mtime == MTIME
    statement = json.loads((dest / "provenance.json").read_text())
    one = {"sha256": digest_of(b"1")[7:]}
    subjects = [{"name": "d/a", "digest": one}, {"name": "z", "digest": one}]
    assert statement["subject"] == subjects
    LocalExporter.parse(str(dest), {"source-date-epoch": "7"}).export([image], workshop.context())
    assert (dest / "provenance.json").stat().st_mtime == 7
    assert json.loads((dest / "provenance.json").read_text())["predicate"]["at"] == 7


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, {"linux_amd64/provenance.json", "linux_arm64/provenance.json"}),
        (
            {"platform-split": "false"},
            {"provenance.linux_amd64.json", "provenance.linux_arm64.json"},
        ),
        (
            {"attestation-prefix": "my-"},
            {"linux_amd64/my-provenance.json", "linux_arm64/my-provenance.json"},
        ),
    ],
)
def test_files_of_several_platforms_have_names_of_their_own(
    workshop: Workshop, attributes: dict[str, str], expected: set[str]
) -> None:
    """In the platforms' folders, or by their names where there are none."""
    images = [
        said_of(workshop.image(workshop.layer({platform.architecture: b""}), platform=platform))
        for platform in (AMD64, ARM64)
    ]
    dest = workshop.root / "dest"
    LocalExporter.parse(str(dest), attributes).export(images, workshop.context())
    assert {str(path.relative_to(dest)) for path in dest.rglob("*.json")} == expected


def test_a_tar_gets_the_statement_as_a_file(workshop: Workshop) -> None:
    """Once, whatever the image has at its place, and owned by root."""
    image = said_of(workshop.image(workshop.layer({"a": b"1", "provenance.json": b"own"})))
    dest = workshop.root / "files.tar"
    TarExporter.parse(str(dest), {}).export([image], workshop.context(epoch=9))
    with tarfile.open(dest) as tar:
        assert sorted(tar.getnames()) == ["a", "provenance.json"]
        (found,) = (one for one in tar if one.name == "provenance.json")
        assert (found.mode, found.uid, found.gid, found.mtime) == (0o600, 0, 0, 9)
        file = tar.extractfile(found)
        assert file is not None
        assert json.load(file)["predicateType"] == TYPE


def test_a_statement_takes_no_folders_place(workshop: Workshop, tmp_path: Path) -> None:
    """What is in the folder is the image's. Nor does a prefix name another folder."""
    image = said_of(workshop.image(workshop.layer({"provenance.json/x": b""})))
    with pytest.raises(UserError, match="is a folder"):
        LocalExporter.parse(str(tmp_path / "d"), {}).export([image], workshop.context())
    with pytest.raises(UsageError, match="attestation-prefix"):
        LocalExporter.parse(str(tmp_path / "d"), {"attestation-prefix": "../"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpine", "pkg:docker/alpine@latest"),
        ("docker.io/library/alpine:3.15", "pkg:docker/alpine@3.15"),
        (f"alpine:3@{DIGEST}", f"pkg:docker/alpine@3?digest={DIGEST}"),
        (f"alpine@{DIGEST}", f"pkg:docker/alpine?digest={DIGEST}"),
        ("user/test:v2", "pkg:docker/user/test@v2"),
        ("ghcr.io/foo/bar", "pkg:docker/ghcr.io/foo/bar@latest"),
        ("localhost:5000/bar:1", "pkg:docker/localhost:5000/bar@1"),
    ],
)
def test_package_urls(name: str, expected: str) -> None:
    """Short names as people write them; a digest is a qualifier, beside the platform."""
    reference = parse_reference(name)
    assert package_url(reference) == expected
    platform = Platform(os="linux", architecture="arm", variant="v7")
    joint = "&" if "?" in expected else "?"
    assert package_url(reference, platform) == f"{expected}{joint}platform=linux%2Farm%2Fv7"
    assert package_url(reference, local=True) == expected.replace("docker/", "oci/", 1)
