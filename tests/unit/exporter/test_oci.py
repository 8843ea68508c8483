from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lamina.errors import UsageError, UserError
from lamina.exporter.annotations import parse_flags
from lamina.exporter.image import BuiltImage
from lamina.exporter.oci import OciExporter
from lamina.oci import mediatype
from lamina.oci.digest import digest_of
from lamina.oci.reference import parse_reference

from .conftest import AMD64, ARM64, CREATED, Workshop

TITLE = "org.opencontainers.image.title"
APP = parse_reference("app:dev")


def exported(
    workshop: Workshop,
    *images: BuiltImage,
    attributes: dict[str, str] | None = None,
    **options: object,
) -> dict[str, bytes]:
    """The files of an archive by name, every blob checked."""
    dest = workshop.root / "out.tar"
    exporter = OciExporter.parse(str(dest), attributes or {})
    exporter.export(images, workshop.context(**options))
    with tarfile.open(dest) as tar:
        files = {one.name: (tar.extractfile(one) or io.BytesIO()).read() for one in tar}
    for name, data in files.items():
        if name.startswith("blobs/sha256/"):
            assert digest_of(data) == "sha256:" + name.removeprefix("blobs/sha256/")
    return files


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> Any:  # noqa: ANN401 - it is JSON
    data = files["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(data) == descriptor["size"]
    return json.loads(data)


def test_the_archive_is_a_layout_and_nothing_else(workshop: Workshop) -> None:
    """Every blob can be reached from the index, and every one that is reached is there."""
    files = exported(workshop, workshop.image(workshop.layer({"a": b"1"}), workshop.layer({})))
    (top,) = json.loads(files["index.json"])["manifests"]
    manifest = blob(files, top)
    config = blob(files, manifest["config"])
    names = {f"blobs/{one['digest'].replace(':', '/')}" for one in manifest["layers"]}
    names |= {f"blobs/{one['digest'].replace(':', '/')}" for one in (top, manifest["config"])}
    assert set(files) == names | {"blobs", "blobs/sha256", "index.json", "oci-layout"}
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert top["mediaType"] == manifest["mediaType"] == mediatype.MANIFEST
    assert top["platform"] == {"architecture": "amd64", "os": "linux"}
    assert top["annotations"] == {"org.opencontainers.image.created": CREATED}
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 2


def test_equal_builds_are_equal_archives(workshop: Workshop, tmp_path: Path) -> None:
    """Byte for byte, in another store, at another time, with blobs made or remembered."""
    first = [workshop.layer({"a": b"1" * 10_000, "d/": b""}), workshop.layer({"b": b"2"})]
    other = tmp_path / "other"
    other.mkdir()
    archives = []
    for store in (workshop, workshop, Workshop(root=other, content=type(workshop.content)(other))):
        layers = first
        if store is not workshop:
            layers = [store.layer({"a": b"1" * 10_000, "d/": b""}), store.layer({"b": b"2"})]
        exported(store, store.image(*layers), names=(APP,))
        archives.append((store.root / "out.tar").read_bytes())
    assert archives[0] == archives[1] == archives[2]
    assert len(archives[0]) % 10240 == 0


def test_every_name_is_listed(workshop: Workshop) -> None:
    """With its tag, and as containerd wants it; the blobs are there once."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    files = exported(workshop, image, names=(), attributes={"name": "app:dev,localhost:5000/x/app"})
    listed = [one["annotations"] for one in json.loads(files["index.json"])["manifests"]]
    assert [one["io.containerd.image.name"] for one in listed] == [
        "docker.io/library/app:dev",
        "localhost:5000/x/app:latest",
    ]
    assert [one["org.opencontainers.image.ref.name"] for one in listed] == ["dev", "latest"]


def test_several_platforms_are_an_index(workshop: Workshop) -> None:
    """One descriptor in the layout, which leads to a manifest for each."""
    layer = workshop.layer({"a": b"1"})
    files = exported(
        workshop, workshop.image(layer), workshop.image(layer, platform=ARM64), names=(APP,)
    )
    (top,) = json.loads(files["index.json"])["manifests"]
    assert top["mediaType"] == mediatype.INDEX
    inner = blob(files, top)["manifests"]
    assert [one["platform"]["architecture"] for one in inner] == ["amd64", "arm64"]
    assert [blob(files, blob(files, one)["config"])["architecture"] for one in inner] == [
        "amd64",
        "arm64",
    ]


def test_one_platform_can_be_an_index_too(workshop: Workshop) -> None:
    """Where several were asked for by name."""
    files = exported(workshop, workshop.image(), multi_platform=True)
    (top,) = json.loads(files["index.json"])["manifests"]
    assert top["mediaType"] == mediatype.INDEX


def test_annotations_reach_their_documents(workshop: Workshop) -> None:
    """The manifest, what points at it, the index and what points at that."""
    flags = {
        TITLE: "all",
        f"manifest[linux/arm64]:{TITLE}": "arm",
        f"manifest-descriptor:{TITLE}": "pointer",
        f"index-descriptor:{TITLE}": "top",
    }
    files = exported(
        workshop,
        workshop.image(),
        workshop.image(platform=ARM64),
        annotations=parse_flags(flags),
        attributes={f"annotation-index.{TITLE}": "index"},
    )
    (top,) = json.loads(files["index.json"])["manifests"]
    index = blob(files, top)
    assert top["annotations"][TITLE] == "top"
    assert index["annotations"] == {TITLE: "index"}
    assert [one["annotations"] for one in index["manifests"]] == [{TITLE: "pointer"}] * 2
    assert [blob(files, one)["annotations"][TITLE] for one in index["manifests"]] == ["all", "arm"]


@pytest.mark.parametrize("flag", ["index:k", "index-descriptor:k", "manifest[linux/arm64]:k"])
def test_annotations_without_a_place_are_refused(workshop: Workshop, flag: str) -> None:
    """A single image has no index, and no platform that was not built."""
    with pytest.raises(UserError):
        exported(workshop, workshop.image(), annotations=parse_flags({flag: "v"}))
    assert not (workshop.root / "out.tar").exists()


def test_docker_media_types(workshop: Workshop) -> None:
    """One family all the way down."""
    files = exported(
        workshop, workshop.image(workshop.layer({})), attributes={"oci-mediatypes": "false"}
    )
    (top,) = json.loads(files["index.json"])["manifests"]
    manifest = blob(files, top)
    assert top["mediaType"] == manifest["mediaType"] == mediatype.DOCKER_MANIFEST
    assert manifest["config"]["mediaType"] == mediatype.DOCKER_CONFIG
    assert manifest["layers"][0]["mediaType"] == mediatype.DOCKER_LAYER_GZIP


def test_an_epoch_sets_what_is_created(workshop: Workshop) -> None:
    """In the config, its history, and the index; files only where rewriting was asked for."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    times = {}
    for rewrite in ("false", "true"):
        attributes = {"rewrite-timestamp": rewrite, "compression": "uncompressed"}
        files = exported(workshop, image, epoch=60, attributes=attributes)
        (top,) = json.loads(files["index.json"])["manifests"]
        manifest = blob(files, top)
        config = blob(files, manifest["config"])
        minute = "1970-01-01T00:01:00Z"
        assert top["annotations"]["org.opencontainers.image.created"] == minute
        assert [config["created"], config["history"][0]["created"]] == [minute] * 2
        layer = files["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")]
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            times[rewrite] = tar.getmember("a").mtime
    assert times["true"] == 60 < times["false"]


def test_an_outputs_own_epoch_wins(workshop: Workshop) -> None:
    """Also the empty one, which means none."""
    for attribute, expected in (("5", "1970-01-01T00:00:05Z"), ("", CREATED)):
        files = exported(
            workshop,
            workshop.image(),
            epoch=60,
            attributes={"source-date-epoch": attribute},
        )
        (top,) = json.loads(files["index.json"])["manifests"]
        assert blob(files, blob(files, top)["config"])["created"] == expected


def test_standard_output(workshop: Workshop) -> None:
    """The same bytes as in a file."""
    image = workshop.image(workshop.layer({"a": b"1"}))
    exported(workshop, image)
    OciExporter.parse("-", {}).export([image], workshop.context())
    OciExporter.parse(None, {}).export([image], workshop.context())
    assert workshop.stdout.getvalue() == (workshop.root / "out.tar").read_bytes() * 2


def test_a_folder_keeps_what_it_has_of_other_images(workshop: Workshop, tmp_path: Path) -> None:
    """An image replaces the one of its own name, and no other."""
    dest = tmp_path / "layout"
    for content, name in ((b"1", APP), (b"2", parse_reference("other:dev")), (b"3", APP)):
        OciExporter.parse(str(dest), {"tar": "false"}).export(
            [workshop.image(workshop.layer({"a": content}))], workshop.context(names=(name,))
        )
    listed = json.loads((dest / "index.json").read_bytes())["manifests"]
    assert [one["annotations"]["io.containerd.image.name"] for one in listed] == [
        "docker.io/library/other:dev",
        "docker.io/library/app:dev",
    ]
    for path in (dest / "blobs" / "sha256").iterdir():
        assert digest_of(path.read_bytes()) == f"sha256:{path.name}"
        assert path.stat().st_nlink == 1, "the store's own file must not be in other hands"
    assert sorted(path.name for path in dest.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_folder_without_a_name_is_the_latest(workshop: Workshop, tmp_path: Path) -> None:
    """As buildx names it, so that a second build takes the place of the first."""
    dest = tmp_path / "layout"
    for content in (b"1", b"2"):
        result = OciExporter.parse(str(dest), {"tar": "false"}).export(
            [workshop.image(workshop.layer({"a": content}))], workshop.context()
        )
    (top,) = json.loads((dest / "index.json").read_bytes())["manifests"]
    assert top["annotations"]["org.opencontainers.image.ref.name"] == "latest"
    assert top["digest"] == result.digest


def test_a_broken_index_in_the_folder_is_not_overwritten(
    workshop: Workshop, tmp_path: Path
) -> None:
    """It may be something else entirely."""
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(UserError, match="is not the index of an image layout"):
        OciExporter.parse(str(tmp_path), {"tar": "false"}).export(
            [workshop.image()], workshop.context()
        )
    assert (tmp_path / "index.json").read_text() == "[]"


@pytest.mark.parametrize(("dest", "tar"), [(None, "false"), ("-", "false"), ("/", "true")])
def test_impossible_destinations(dest: str | None, tar: str) -> None:
    """Said before anything is built."""
    with pytest.raises(UsageError):
        OciExporter.parse(dest, {"tar": tar})


def test_the_result_names_what_came_out(workshop: Workshop) -> None:
    """Digests of the manifest and of the config, the names, and the descriptor."""
    result = OciExporter.parse("-", {}).export([workshop.image()], workshop.context(names=(APP,)))
    assert result.descriptor is not None
    assert result.digest == result.descriptor.digest
    assert result.image_id is not None
    assert workshop.content.has(result.image_id)
    assert result.names == ("docker.io/library/app:dev",)
    several = OciExporter.parse("-", {}).export(
        [workshop.image(), workshop.image(platform=ARM64)], workshop.context()
    )
    assert several.image_id is None
    assert AMD64 != ARM64


def test_progress_ends_where_it_said_it_would(workshop: Workshop) -> None:
    """Each thing is opened, and closed by its whole amount."""
    exported(workshop, workshop.image(workshop.layer({"a": b"1"})))
    told: dict[str, list[tuple[int, int]]] = {}
    for what, current, total in workshop.said:
        told.setdefault(what, []).append((current, total))
    assert {"exporting layers", "sending tarball"} <= set(told)
    for steps in told.values():
        totals = {total for _, total in steps}
        assert len(totals) == 1
        assert [current for current, _ in steps] == sorted({current for current, _ in steps})
        assert (steps[0][0], steps[-1][0]) == (0, totals.pop())
