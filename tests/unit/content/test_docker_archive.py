"""Archives of `docker save`."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from lamina.content.compression import Compression
from lamina.content.errors import MalformedImage, NotFound
from lamina.content.layout import open_layout
from lamina.content.store import BlobStore
from lamina.oci.digest import digest_of
from lamina.oci.platform import Platform
from lamina.oci.reference import parse_reference

HOST = Platform(os="linux", architecture="amd64")
PLAIN = [b"first layer", b"second layer"]


def archive(
    path: Path, *, tags: list[str] | None = None, manifest: object = None, packed: bool = False
) -> Path:
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in PLAIN]},
        }
    ).encode()
    entry = {"Config": "c.json", "RepoTags": tags, "Layers": ["1/layer.tar", "2/layer.tar"]}
    files = {
        "manifest.json": json.dumps(manifest if manifest is not None else [entry]).encode(),
        "c.json": config,
        "1/layer.tar": gzip.compress(PLAIN[0]) if packed else PLAIN[0],
    }
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        member = tarfile.TarInfo("real/layer.tar")
        member.size = len(PLAIN[1])
        tar.addfile(member, io.BytesIO(PLAIN[1]))
        link = tarfile.TarInfo("2/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../real/layer.tar"
        tar.addfile(link)
    return path


def test_an_archive_is_an_image(tmp_path: Path) -> None:
    """Found by its name; layers that are links inside the archive are followed."""
    source = open_layout(archive(tmp_path / "a.tar", tags=["app:v1"]))
    reference = parse_reference("app:v1")
    image = source.resolve(reference, HOST)
    store = BlobStore(tmp_path / "store")
    for layer, plain in zip(image.layers, PLAIN, strict=True):
        source.fetch(reference, layer.descriptor, store)
        assert store.read(layer.descriptor.digest) == plain
        assert layer.diff_id == digest_of(plain)
    again = open_layout(tmp_path / "a.tar").resolve(reference, HOST)
    assert again.digest == image.digest


def test_compressed_layers_are_told_from_plain_ones(tmp_path: Path) -> None:
    """By their first bytes: the archive does not say."""
    source = open_layout(archive(tmp_path / "a.tar", packed=True))
    image = source.resolve(parse_reference("any"), HOST)
    kinds = [layer.compression for layer in image.layers]
    assert kinds == [Compression.GZIP, Compression.UNCOMPRESSED]


def test_names(tmp_path: Path) -> None:
    """By full name or tag; an unknown one tells what there is."""
    source = open_layout(archive(tmp_path / "a.tar", tags=["team/app:v1"]))
    for text in ("team/app:v1", "other:v1", "anything"):
        assert source.resolve(parse_reference(text), HOST).layers
    with pytest.raises(NotFound) as caught:
        source.resolve(parse_reference("team/app:v2"), HOST)
    assert "team/app:v1" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "manifest",
    [{}, [1], [{"Layers": []}], [{"Config": "c.json", "Layers": "x"}], "text"],
)
def test_a_malformed_manifest_is_refused(tmp_path: Path, manifest: object) -> None:
    """One clear error."""
    with pytest.raises(MalformedImage, match=r"manifest\.json is malformed"):
        open_layout(archive(tmp_path / "a.tar", manifest=manifest))


@pytest.mark.parametrize("name", ["missing", "../../etc/passwd", "/etc/passwd"])
def test_files_outside_do_not_exist(tmp_path: Path, name: str) -> None:
    """Names lead to members of the archive and nowhere else."""
    entry = {"Config": "c.json", "Layers": [name, name]}
    source = open_layout(archive(tmp_path / "a.tar", manifest=[entry]))
    with pytest.raises(NotFound, match="missing"):
        source.resolve(parse_reference("any"), HOST)
