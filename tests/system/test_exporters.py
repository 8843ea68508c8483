"""What comes out, read by tools that share nothing with Lamina: skopeo, umoci, podman, tar."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from lamina.content.store import BlobStore
from lamina.errors import HostError
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.docker import DockerExporter
from lamina.exporter.image import BuiltImage
from lamina.exporter.local import LocalExporter
from lamina.exporter.oci import OciExporter
from lamina.exporter.port import ExportContext, Exporter
from lamina.exporter.tar import TarExporter
from lamina.layer.scan import read_diff
from lamina.layer.stack import Layer, Stack
from lamina.oci.config import ContainerConfig, History, ImageConfig
from lamina.oci.platform import Platform
from lamina.oci.reference import parse_reference
from lamina.snapshot.store import LayerStore
from lamina.snapshot.view import View
from lamina.testing.blob_index import MemoryBlobIndex
from tests.support.bases import machine_architecture
from tests.support.commands import program, run
from tests.support.images import Tree, differences, read_image, read_tar

pytestmark = pytest.mark.root

CREATED = "2024-01-02T03:04:05Z"
NAME = parse_reference("example.org/team/app:v1")
ODD = "café \n name".encode() + b"\xff"


@dataclass
class Kitchen:
    """A real store, and layers made in it."""

    root: Path
    content: BlobStore
    layers: LayerStore
    index: MemoryBlobIndex = field(default_factory=MemoryBlobIndex)

    def layer(self, fill: Callable[[Path], object]) -> Layer:
        with self.layers.work() as work:
            fill(Path(work.diff))
            return Layer(id=self.layers.publish(work, read_diff(work.diff).manifest))

    def context(self, **changes: object) -> ExportContext:
        def fetch(layer: Layer) -> None:
            raise AssertionError(f"{layer} is here")

        def view(stack: Stack) -> View:
            return View(self.layers, [layer.id for layer in stack])

        values: dict[str, object] = {
            "content": self.content,
            "blobs": LayerBlobs(
                content=self.content, layers=self.layers, index=self.index, fetch=fetch
            ),
            "view": view,
            "names": (NAME,),
        }
        return ExportContext(**(values | changes))  # type: ignore[arg-type]


def base(root: Path) -> None:
    (root / "bin").mkdir()
    busybox = root / "bin" / "busybox"
    busybox.write_bytes(Path(program("busybox", package="busybox-static")).read_bytes())
    busybox.chmod(0o755)
    (root / "bin" / "sh").symlink_to("busybox")
    (root / "gone" / "deep").mkdir(parents=True)
    (root / "gone" / "file").write_text("gone")
    (root / "hidden").mkdir()
    (root / "hidden" / "old").write_text("old")
    (root / "replaced").write_text("a file")


def top(root: Path) -> None:
    directory = os.fsencode(root)
    os.mknod(root / "gone", 0o20000, os.makedev(0, 0))
    (root / "hidden").mkdir()
    os.setxattr(root / "hidden", "trusted.overlay.opaque", b"y")
    (root / "hidden" / "new").write_text("new")
    (root / "replaced").mkdir(mode=0o1777)
    (root / "replaced").chmod(0o1777)
    (root / "owned").write_text("owned")
    os.chown(root / "owned", 1000, 3_000_000)
    (root / "setuid").write_text("x")
    (root / "setuid").chmod(0o4755)
    os.link(root / "setuid", root / "same")
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.mkfifo(root / "pipe")
    (root / ("n" * 200)).mkdir()
    (root / ("n" * 200) / ("m" * 200)).write_text("long")
    Path(os.fsdecode(directory + b"/" + ODD)).write_text("odd")
    (root / "link").symlink_to("/absolute/" + "l" * 150)
    with (root / "sparse").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"end")
    os.utime(root / "owned", ns=(0, 1_700_000_000_123_456_789))


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    store = tmp_path / "store"
    store.mkdir()
    return Kitchen(
        root=tmp_path, content=BlobStore(store / "images"), layers=LayerStore(str(store / "l"))
    )


@pytest.fixture
def image(kitchen: Kitchen) -> BuiltImage:
    architecture = machine_architecture()
    return BuiltImage(
        platform=Platform(os="linux", architecture=architecture),
        config=ImageConfig(
            architecture=architecture,
            os="linux",
            created=CREATED,
            config=ContainerConfig(
                cmd=("/bin/sh",), env=("PATH=/bin",), labels={"org.example": "ünï"}
            ),
            history=(
                History(created=CREATED, created_by="COPY base /"),
                History(created=CREATED, created_by="ENV PATH=/bin", empty_layer=True),
                History(created=CREATED, created_by="RUN things"),
            ),
        ),
        stack=(kitchen.layer(base), kitchen.layer(top)),
    )


class Kind(Protocol):
    def parse(self, dest: str | None, attributes: dict[str, str]) -> Exporter: ...


def export(kitchen: Kitchen, kind: Kind, image: BuiltImage, dest: Path, **attributes: str) -> Path:
    named = {key.replace("_", "-"): value for key, value in attributes.items()}
    kind.parse(str(dest), named).export([image], kitchen.context())
    return dest


def skopeo(*words: object) -> str:
    command = [program("skopeo"), *(str(word) for word in words)]
    return run(command).must_succeed().stdout


def merged(kitchen: Kitchen, image: BuiltImage) -> Tree:
    """The tree as the tar output has it."""
    return read_tar(export(kitchen, TarExporter, image, kitchen.root / "files.tar"))


@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
def test_skopeo_reads_and_copies_an_archive(
    kitchen: Kitchen, image: BuiltImage, compression: str
) -> None:
    """Names, layers and labels are there, and every blob has its digest."""
    archive = export(
        kitchen, OciExporter, image, kitchen.root / "image.tar", compression=compression
    )
    seen = json.loads(skopeo("inspect", f"oci-archive:{archive}:v1"))
    assert seen["Labels"] == {"org.example": "ünï"}
    assert len(seen["Layers"]) == 2
    skopeo("copy", f"oci-archive:{archive}:v1", f"dir:{kitchen.root / 'copied'}")
    assert differences(read_image(archive).tree(), merged(kitchen, image)) == []


@pytest.mark.parametrize("compression", ["gzip", "uncompressed"])
def test_umoci_unpacks_a_folder(kitchen: Kitchen, image: BuiltImage, compression: str) -> None:
    """And finds the files that the local output writes."""
    layout = export(
        kitchen,
        OciExporter,
        image,
        kitchen.root / "layout",
        tar="false",
        compression=compression,
    )
    bundle = kitchen.root / "bundle"
    run([program("umoci"), "unpack", "--image", f"{layout}:v1", bundle]).must_succeed()
    local = export(kitchen, LocalExporter, image, kitchen.root / "local")
    unpacked = bundle / "rootfs"
    assert listing(unpacked) == listing(local)
    assert (unpacked / "owned").stat().st_gid == 3_000_000
    assert (unpacked / "owned").stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert (unpacked / "same").stat().st_ino == (unpacked / "setuid").stat().st_ino


def listing(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Names, modes, sizes, links and contents."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = folder + b"/" + name
            status = os.lstat(path)
            link = os.readlink(path) if os.path.islink(path) else b""
            regular = os.path.isfile(path) and not link
            content = Path(os.fsdecode(path)).read_bytes() if regular else b""
            found[path[len(top) :]] = (oct(status.st_mode), status.st_rdev, link, content)
    return found


def test_skopeo_reads_a_docker_archive(kitchen: Kitchen, image: BuiltImage) -> None:
    """By its tag, and its config is ours."""
    archive = export(kitchen, DockerExporter, image, kitchen.root / "image.tar")
    seen = json.loads(skopeo("inspect", f"docker-archive:{archive}:{NAME.familiar}"))
    assert seen["Env"] == ["PATH=/bin"]
    oci = read_image(archive)
    config = json.loads(skopeo("inspect", "--config", "--raw", f"docker-archive:{archive}"))
    assert config["rootfs"] == oci.document["rootfs"]
    skopeo("copy", f"docker-archive:{archive}", f"dir:{kitchen.root / 'copied'}")


@pytest.mark.parametrize("kind", [OciExporter, DockerExporter])
@pytest.mark.parametrize("media_types", ["true", "false"])
def test_podman_loads_an_archive(
    kitchen: Kitchen, image: BuiltImage, kind: Kind, media_types: str, podman: Podman
) -> None:
    """Under its name, with the config's digest as its id, and with its files."""
    archive = export(kitchen, kind, image, kitchen.root / "image.tar", oci_mediatypes=media_types)
    assert NAME.familiar in podman("load", "-i", archive)
    (seen,) = json.loads(podman("inspect", str(NAME)))
    assert seen["RootFS"]["Layers"] == read_image(archive).document["rootfs"]["diff_ids"]
    assert seen["Config"]["Cmd"] == ["/bin/sh"]
    root = Path(podman("image", "mount", str(NAME)).strip())
    assert (root / "hidden" / "new").read_text() == "new"
    assert not (root / "hidden" / "old").exists()
    assert not (root / "gone").exists()


class Podman(Protocol):
    def __call__(self, *words: object) -> str: ...


@pytest.fixture
def podman() -> Iterator[Podman]:
    """Podman with a storage of its own, as root; it wants short paths."""
    with tempfile.TemporaryDirectory(prefix="pod-", dir="/tmp") as root:
        storage = ("--root", f"{root}/a", "--runroot", f"{root}/b", "--storage-driver", "vfs")

        def call(*words: object) -> str:
            command = [program("podman"), *storage, *(str(word) for word in words)]
            return run(command).must_succeed().stdout

        yield call
        call("image", "unmount", "--all")


def test_tar_unpacks_the_root_file_system(kitchen: Kitchen, image: BuiltImage) -> None:
    """As root with everything, the same as the local output but for the owners."""
    archive = export(kitchen, TarExporter, image, kitchen.root / "files.tar")
    unpacked = kitchen.root / "unpacked"
    unpacked.mkdir()
    run([program("tar"), "--numeric-owner", "-xpf", archive, "-C", unpacked]).must_succeed()
    local = export(kitchen, LocalExporter, image, kitchen.root / "local")
    assert listing(unpacked) == listing(local)
    assert (unpacked / "owned").stat().st_uid == 1000
    assert (local / "owned").stat().st_uid == 0
    assert (local / "sparse").stat().st_blocks < (local / "sparse").stat().st_size // 512


def test_equal_layers_give_equal_archives_in_another_store(
    kitchen: Kitchen, image: BuiltImage, tmp_path: Path
) -> None:
    """Every byte, whoever makes them, for every output that is one file."""
    archives = []
    for number in range(2):
        other = Kitchen(
            root=tmp_path, content=BlobStore(tmp_path / f"s{number}"), layers=kitchen.layers
        )
        made: list[bytes] = []
        for kind in (OciExporter, DockerExporter, TarExporter):
            path = export(other, kind, image, tmp_path / f"{number}.tar")
            made.append(path.read_bytes())
        archives.append(made)
    assert archives[0] == archives[1]


def test_a_killed_export_leaves_the_old_file(kitchen: Kitchen, image: BuiltImage) -> None:
    """Or none, and never a part of one."""
    dest = kitchen.root / "out" / "image.tar"
    dest.parent.mkdir()
    dest.write_bytes(b"old")
    child = os.fork()
    if child == 0:
        try:
            export(Failing(kitchen), OciExporter, image, dest)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    assert dest.read_bytes() == b"old"


class Failing(Kitchen):
    """Is killed in the middle of its archive."""

    def __init__(self, kitchen: Kitchen) -> None:
        super().__init__(root=kitchen.root, content=kitchen.content, layers=kitchen.layers)

    def context(self, **changes: object) -> ExportContext:
        def progress(what: str, current: int, total: int) -> None:
            if what == "sending tarball" and current:
                os.kill(os.getpid(), 9)

        return super().context(progress=progress)


def test_a_full_disk_is_one_error(kitchen: Kitchen, image: BuiltImage) -> None:
    """Which says so, and leaves nothing behind."""
    small = kitchen.root / "small"
    small.mkdir()
    run([program("mount"), "-t", "tmpfs", "-o", "size=64k", "tmpfs", small]).must_succeed()
    try:
        with pytest.raises(HostError, match="No space left"):
            export(kitchen, OciExporter, image, small / "image.tar")
        assert os.listdir(small) == []
    finally:
        run([program("umount"), small]).must_succeed()


def test_a_pipe_takes_an_archive(kitchen: Kitchen, image: BuiltImage) -> None:
    """Standard output that is a pipe, read by tar as it comes."""
    read, write = os.pipe()
    child = subprocess.Popen([program("tar"), "-tf", "-"], stdin=read, stdout=subprocess.PIPE)
    os.close(read)
    with os.fdopen(write, "wb") as stdout:
        OciExporter.parse("-", {}).export([image], kitchen.context(stdout=stdout))
    names = child.communicate()[0].decode().split()
    assert child.returncode == 0
    assert {"index.json", "oci-layout", "blobs/sha256/"} < set(names)
