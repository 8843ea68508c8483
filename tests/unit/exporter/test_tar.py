from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from lamina.errors import UsageError
from lamina.exporter.tar import TarExporter
from lamina.layer.stack import Layer

from .conftest import ARM64, MTIME, Workshop


def unpacked(workshop: Workshop) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(workshop.stdout.getvalue())) as tar:
        return {one.name: one for one in tar}


def test_every_kind_of_file(workshop: Workshop, tmp_path: Path) -> None:
    """With its mode, its time to the nanosecond, its links, and its content."""
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    content = os.urandom(3 << 20)
    (root / "dir" / "large").write_bytes(content)
    (root / "small").write_bytes(b"small")
    (root / "small").chmod(0o4755)
    os.link(root / "dir" / "large", root / "second")
    (root / "symlink").symlink_to("../anywhere")
    os.mkfifo(root / "pipe")
    os.utime(root / "small", ns=(0, MTIME * 10**9 + 123_456_789))
    layer = workshop.adopt(root)
    TarExporter.parse("-", {}).export([workshop.image(layer)], workshop.context())
    files = unpacked(workshop)
    assert sorted(files) == ["dir", "dir/large", "pipe", "second", "small", "symlink"]
    assert files["second"].islnk()
    assert files["second"].linkname == "dir/large"
    assert files["symlink"].linkname == "../anywhere"
    assert files["pipe"].isfifo()
    assert files["dir"].isdir()
    assert files["small"].mode == 0o4755
    assert files["small"].pax_headers["mtime"] == f"{MTIME}.123456789"
    with tarfile.open(fileobj=io.BytesIO(workshop.stdout.getvalue())) as tar:
        stream = tar.extractfile("second")
        assert stream is not None
        assert stream.read() == content


def test_layers_are_merged(workshop: Workshop) -> None:
    """The upper file wins, and nothing of the layers is left to see."""
    lower = workshop.layer({"d/a": b"low", "d/b": b"stays"})
    upper = workshop.layer({"d/a": b"high"})
    TarExporter.parse("-", {}).export([workshop.image(lower, upper)], workshop.context())
    assert {name: one.size for name, one in unpacked(workshop).items()} == {
        "d": 0,
        "d/a": 4,
        "d/b": 5,
    }


def test_several_platforms_get_a_folder_each(workshop: Workshop) -> None:
    """In the order of their names, hard links pointing into their own."""
    one, other = workshop.layer({"a": b"1"}), workshop.layer({"b": b"2"})
    images = [workshop.image(one, platform=ARM64), workshop.image(other)]
    TarExporter.parse("-", {}).export(images, workshop.context())
    assert list(unpacked(workshop)) == [
        "linux_amd64",
        "linux_amd64/b",
        "linux_arm64",
        "linux_arm64/a",
    ]


def test_an_epoch_is_everybodys_time(workshop: Workshop) -> None:
    """Earlier and later ones, as BuildKit has it."""
    layer = workshop.layer({"a": b"1", "d/b": b"2"}, mtime=50)
    TarExporter.parse("-", {}).export([workshop.image(layer)], workshop.context(epoch=60))
    assert {one.mtime for one in unpacked(workshop).values()} == {60}


def test_an_empty_image_is_an_empty_archive(workshop: Workshop, tmp_path: Path) -> None:
    """Which tar reads."""
    empty: Layer = workshop.layer({})
    TarExporter.parse("-", {}).export([workshop.image(empty)], workshop.context())
    assert unpacked(workshop) == {}


@pytest.mark.parametrize("key", ["compression", "platform-spilt", "name"])
def test_attributes_of_images_are_refused(key: str) -> None:
    """There is no image in it."""
    with pytest.raises(UsageError, match=f"the output tar has no attribute '{key}'"):
        TarExporter.parse("-", {key: "x"})
