"""A small workshop: layers made of real directories, and everything an output works with."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lamina.content.images import ImageStore
from lamina.content.store import BlobStore
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.image import BuiltImage
from lamina.exporter.port import ExportContext
from lamina.layer.entry import Manifest
from lamina.layer.scan import read_diff
from lamina.layer.stack import Layer, Stack
from lamina.oci.config import ContainerConfig, History, ImageConfig
from lamina.oci.digest import Digest
from lamina.oci.platform import Platform
from lamina.snapshot.view import View
from lamina.testing.blob_index import MemoryBlobIndex

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64")
CREATED = "2024-01-02T03:04:05Z"
MTIME = 1_700_000_000


@dataclass
class Workshop:
    """Makes layers and images in a temporary folder, and counts what is fetched."""

    root: Path
    content: BlobStore
    index: MemoryBlobIndex = field(default_factory=MemoryBlobIndex)
    stdout: io.BytesIO = field(default_factory=io.BytesIO)
    fetched: list[Layer] = field(default_factory=list)
    supply: Callable[[Layer], object] = lambda layer: None
    said: list[tuple[str, int, int]] = field(default_factory=list)
    directories: dict[Digest, Path] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)

    def has(self, layer: Digest, /) -> bool:
        return layer in self.directories

    def manifest(self, layer: Digest, /) -> Manifest:
        return self.manifests[layer]

    def is_exact(self, layer: Digest, /) -> bool:
        return True

    def diff_dir(self, layer: Digest, /) -> str:
        return str(self.directories[layer])

    def layer(self, files: dict[str, bytes], *, mtime: int = MTIME) -> Layer:
        """A layer made here with these files; a name that ends with a slash is a folder."""
        directory = self.root / f"layer-{len(self.directories)}"
        directory.mkdir()
        for name, data in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(data)
        for path in directory.rglob("*"):
            os.utime(path, (mtime, mtime), follow_symlinks=False)
        return self.adopt(directory)

    def adopt(self, directory: Path) -> Layer:
        """A directory as a layer."""
        manifest = read_diff(str(directory)).manifest
        identity = manifest.identity()
        self.directories[identity], self.manifests[identity] = directory, manifest
        return Layer(id=identity)

    def image(self, *layers: Layer, platform: Platform = AMD64) -> BuiltImage:
        return BuiltImage(
            platform=platform,
            config=ImageConfig(
                architecture=platform.architecture,
                os=platform.os,
                created=CREATED,
                config=ContainerConfig(cmd=("/bin/hello",), env=("PATH=/bin",)),
                history=tuple(
                    History(created=CREATED, created_by=f"COPY {number} .")
                    for number in range(len(layers))
                ),
            ),
            stack=layers,
        )

    def blobs(self) -> LayerBlobs:
        def fetch(layer: Layer) -> None:
            self.fetched.append(layer)
            self.supply(layer)

        return LayerBlobs(content=self.content, layers=self, index=self.index, fetch=fetch)

    def context(self, **changes: object) -> ExportContext:
        def view(stack: Stack) -> View:
            return View(self, [layer.id for layer in stack])

        values: dict[str, object] = {
            "content": self.content,
            "blobs": self.blobs(),
            "view": view,
            "store": ImageStore(self.content),
            "stdout": self.stdout,
            "progress": lambda *words: self.said.append(words),
        }
        return ExportContext(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    root = tmp_path / "workshop"
    root.mkdir()
    return Workshop(root=root, content=BlobStore(root / "content"))
