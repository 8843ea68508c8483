from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from lamina.errors import UsageError
from lamina.exporter.docker import DockerExporter
from lamina.oci.reference import parse_reference

from .conftest import ARM64, Workshop


def test_the_manifest_leads_to_everything(workshop: Workshop, tmp_path: Path) -> None:
    """Config and layers by their places in the archive, tags in their short form."""
    dest = tmp_path / "image.tar"
    image = workshop.image(workshop.layer({"a": b"1"}), workshop.layer({"b": b"2"}))
    names = (parse_reference("app:dev"), parse_reference("localhost:5000/app:dev"))
    DockerExporter.parse(str(dest), {}).export([image], workshop.context(names=names))
    with tarfile.open(dest) as tar:
        stream = tar.extractfile("manifest.json")
        assert stream is not None
        (document,) = json.load(stream)
        assert {document["Config"], *document["Layers"]} < set(tar.getnames())
    assert document["RepoTags"] == ["app:dev", "localhost:5000/app:dev"]
    assert len(document["Layers"]) == 2


def test_an_image_without_a_name_has_no_tags(workshop: Workshop) -> None:
    """`null`, as docker save writes it."""
    DockerExporter.parse("-", {}).export([workshop.image()], workshop.context())
    assert b'"RepoTags":null' in workshop.stdout.getvalue()


def test_one_platform_alone(workshop: Workshop) -> None:
    """The format knows no index."""
    images = [workshop.image(), workshop.image(platform=ARM64)]
    with pytest.raises(UsageError, match="does not currently support exporting manifest lists"):
        DockerExporter.parse("-", {}).export(images, workshop.context())


@pytest.mark.parametrize(("dest", "tar"), [(None, "true"), ("image", "false")])
def test_impossible_destinations(dest: str | None, tar: str) -> None:
    """There is no daemon, and a folder is no docker archive."""
    with pytest.raises(UsageError):
        DockerExporter.parse(dest, {"tar": tar})
