"""Reads OCI layouts and archives into trees in memory: the tests' own, independent eye.

Shares no code with Lamina. Bad digests, escaping names and broken archives are AssertionErrors.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commands import program

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "fifo",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One path of a root file system; `content` is a sha256, `xattrs` are those of the archive."""

    kind: str
    mode: int
    owner: tuple[int, int]
    link: str = ""
    content: str = ""
    size: int = 0
    mtime: float = 0
    xattrs: tuple[tuple[str, str], ...] = ()
    device: tuple[int, int] = (0, 0)

    def facts(self) -> tuple[object, ...]:
        """What two builders must agree on: everything but the time."""
        return (self.kind, oct(self.mode), self.owner, self.link, self.content, self.device)


Tree = dict[str, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its configuration document, its manifest, and its layers as (media type, bytes)."""

    document: dict[str, Any]
    manifest: dict[str, Any]
    layers: tuple[bytes, ...]

    @property
    def config(self) -> dict[str, Any]:
        return self.document.get("config") or {}

    @property
    def env(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config.get("Env") or [])

    def tree(self) -> Tree:
        tree: Tree = {}
        for layer in self.layers:
            apply(tree, layer)
        return tree

    def file(self, path: str) -> bytes:
        """The content of a regular file, out of the topmost layer that holds it."""
        for layer in reversed(self.layers):
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                for member in tar:
                    if clean(member.name) == path and member.isreg():
                        stream = tar.extractfile(member)
                        assert stream is not None
                        return stream.read()
        raise AssertionError(f"no file {path} in the image")


def read_image(source: Path, *, platform: str | None = None) -> Image:
    """The only image, or that of one platform ("linux/arm64"), in an OCI layout or archive.

    An archive of `docker save` that is no OCI layout too is also understood.
    """
    blobs = Blobs(read_files(source))
    if "index.json" not in blobs.files:
        return read_docker(blobs.files)
    return image_of(blobs, json.loads(blobs.files["index.json"]), platform)


def read_docker(files: Mapping[str, bytes]) -> Image:
    """The only image of an archive in Docker's own form."""
    [manifest] = json.loads(files["manifest.json"])
    config = files[manifest["Config"]]
    layers = tuple(unpacked(files[name]) for name in manifest["Layers"])
    return checked(json.loads(config), manifest, layers)


def image_of(blobs: Blobs, index: Mapping[str, Any], platform: str | None) -> Image:
    manifests = [
        descriptor
        for descriptor in index["manifests"]
        if "vnd.docker.reference.type" not in descriptor.get("annotations", {})
        and (platform is None or matches(descriptor.get("platform"), platform))
    ]
    assert len(manifests) == 1, f"{len(manifests)} manifests for {platform or 'the image'}"
    document = json.loads(blobs.read(manifests[0]["digest"]))
    if "manifests" in document:
        return image_of(blobs, document, platform)
    config = json.loads(blobs.read(document["config"]["digest"]))
    layers = tuple(unpacked(blobs.read(layer["digest"])) for layer in document["layers"])
    return checked(config, document, layers)


def checked(config: dict[str, Any], manifest: dict[str, Any], layers: tuple[bytes, ...]) -> Image:
    """An image whose layers are those that its configuration names."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    assert config["rootfs"]["diff_ids"] == diff_ids, "the diff IDs are not those of the layers"
    return Image(document=config, manifest=manifest, layers=layers)


def matches(found: Mapping[str, str] | None, wanted: str) -> bool:
    if found is None:
        return True
    parts = [found["os"], found["architecture"], found.get("variant", "")]
    return "/".join(parts).strip("/").startswith(wanted)


@dataclass(frozen=True, slots=True)
class Blobs:
    """The files of a layout; every blob is checked against its name."""

    files: Mapping[str, bytes]

    def read(self, digest: str) -> bytes:
        data = self.files[f"blobs/{digest.replace(':', '/')}"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest, f"{digest} is damaged"
        return data


def read_files(source: Path) -> dict[str, bytes]:
    """All files of a folder or of a tar archive, by name."""
    if source.is_dir():
        found = (path for path in source.rglob("*") if path.is_file())
        return {str(path.relative_to(source)): path.read_bytes() for path in found}
    with tarfile.open(source) as tar:
        return {clean(member.name): content(tar, member) for member in tar if member.isreg()}


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return stream.read() if stream is not None else b""


def unpacked(data: bytes) -> bytes:
    """A layer's tar, whatever it is compressed with."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        command = [program("zstd"), "-dcq"]
        return subprocess.run(command, input=data, check=True, capture_output=True).stdout
    return data


def read_tar(source: Path) -> Tree:
    """The tree in a plain tar, as `--output type=tar` writes it."""
    tree: Tree = {}
    apply(tree, unpacked(source.read_bytes()))
    return tree


def apply(tree: Tree, layer: bytes) -> None:
    """Lay one layer over a tree; whiteouts concern only what lies below the layer."""
    below = dict(tree)
    for path, node in entries(layer):
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            for path_below in within(below, folder):
                if tree.get(path_below) is below[path_below]:
                    del tree[path_below]
        elif name.startswith(WHITEOUT):
            remove(tree, f"{folder}/{name[len(WHITEOUT) :]}".lstrip("/"))
        elif node.kind == "hard link":
            assert node.link in tree, f"{path} is a hard link to {node.link}, which is not there"
            tree[path] = tree[node.link]
        else:
            if node.kind != "folder":
                remove(tree, path)
            tree[path] = node


def remove(tree: Tree, path: str) -> None:
    for inside in within(tree, path):
        del tree[inside]
    tree.pop(path, None)


def within(tree: Tree, folder: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    return [path for path in tree if path.startswith(prefix) and path != folder]


def entries(layer: bytes) -> Iterator[tuple[str, Node]]:
    with tarfile.open(fileobj=io.BytesIO(layer), errorlevel=2) as tar:
        for member in tar:
            path = clean(member.name)
            if not path:
                continue
            if member.islnk():
                yield (
                    path,
                    Node(kind="hard link", mode=0, owner=(0, 0), link=clean(member.linkname)),
                )
                continue
            regular = member.isreg()
            data = content(tar, member) if regular else b""
            yield (
                path,
                Node(
                    kind=KINDS[member.type] if not regular else "file",
                    mode=member.mode & 0o7777 if not member.issym() else 0o777,
                    owner=(member.uid, member.gid),
                    link=member.linkname if member.issym() else "",
                    content=hashlib.sha256(data).hexdigest() if regular else "",
                    size=member.size if regular else 0,
                    mtime=float(member.pax_headers.get("mtime", member.mtime)),
                    xattrs=tuple(sorted(xattrs(member).items())),
                    device=(member.devmajor, member.devminor)
                    if member.ischr() or member.isblk()
                    else (0, 0),
                ),
            )


def xattrs(member: tarfile.TarInfo) -> dict[str, str]:
    prefix = "SCHILY.xattr."
    return {
        name.removeprefix(prefix): value
        for name, value in member.pax_headers.items()
        if name.startswith(prefix)
    }


def clean(name: str) -> str:
    """A member's name relative to the root, without dots and slashes around it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    assert ".." not in parts, f"an archive member escapes: {name}"
    return "/".join(parts)


def differences(ours: Tree, theirs: Tree, *, but: tuple[str, ...] = ()) -> list[str]:
    """What two trees disagree on, one sentence a path; `but` are paths not to look at."""
    said = []
    for path in sorted(ours.keys() | theirs.keys()):
        if path in but:
            continue
        mine, other = ours.get(path), theirs.get(path)
        if mine is None:
            said.append(f"{path}: missing")
        elif other is None:
            said.append(f"{path}: too much ({mine.kind})")
        elif mine.facts() != other.facts():
            said.append(f"{path}: {mine.facts()} instead of {other.facts()}")
    return said
