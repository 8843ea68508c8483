"""Exact layers: what goes into a tar comes out of it, for us and for the tools of others."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.scan import read_diff
from lamina.layer.tar import HashingSink, Reserved, tar_of, write_tar
from lamina.layer.unpack import unpack
from lamina.oci.digest import digest_of

pytestmark = pytest.mark.root

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
OLD = 1_234_567_891_234_567_891


def judge(tool: str, *arguments: str) -> str:
    """Runs another program that reads what we wrote."""
    assert shutil.which(tool), f"{tool} is missing: run `make setup`"
    return subprocess.run(
        [tool, *arguments], check=True, capture_output=True, text=True, errors="surrogateescape"
    ).stdout


def build(top: Path, *, whiteouts: bool = True) -> Path:
    """A directory with everything that a layer can hold."""
    root = os.fsencode(top)
    os.makedirs(root + b"/a/b/c")
    (top / "a/f").write_bytes(b"hi")
    os.link(root + b"/a/f", root + b"/a/b/0link")
    os.symlink(b"../x", root + b"/a/sym")
    os.symlink(b"y" * 150, root + b"/a/longsym")
    os.symlink(b"\xff/\xfe", root + b"/a/badsym")
    os.chown(root + b"/a/badsym", 7, 8, follow_symlinks=False)
    os.utime(root + b"/a/badsym", ns=(OLD, OLD), follow_symlinks=False)
    os.mknod(root + b"/a/null", stat.S_IFCHR, os.makedev(1, 3))
    os.chmod(root + b"/a/null", 0o666)
    os.mknod(root + b"/a/disk", stat.S_IFBLK | 0o600, os.makedev(259, 70_000))
    os.mkfifo(root + b"/a/fifo", 0o640)
    os.setxattr(root + b"/a/f", "user.binary", b"b\0ar\n=")
    (top / "a/ping").write_bytes(b"x")
    os.setxattr(root + b"/a/ping", "security.capability", CAPABILITY)
    (top / "a/suid").write_bytes(b"")
    os.chown(root + b"/a/suid", 1000, 3_000_000)
    os.chmod(root + b"/a/suid", 0o6755)
    deep = root + b"/" + b"/".join([b"l" * 90] * 3)
    os.makedirs(deep)
    for name in (b"p", b"o" * 200, b"caf\xe9", b"\xe9" * 180, "☃".encode()):
        os.close(os.open(deep + b"/" + name, os.O_CREAT | os.O_WRONLY))
    os.makedirs(root + b"/dir\xff")
    with open(root + b"/sparse", "wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(9 << 20)
    (top / "big").write_bytes(bytes(range(256)) * 3000)
    os.utime(root + b"/a/f", ns=(OLD, OLD))
    os.utime(root + b"/big", ns=(0, -1_500_000_000))
    os.chmod(root + b"/a/b/c", 0)
    os.chmod(root, 0o1755)
    if whiteouts:
        os.mknod(root + b"/a/gone", stat.S_IFCHR, 0)
        os.mkdir(root + b"/opaque")
        os.setxattr(root + b"/opaque", "trusted.overlay.opaque", b"y")
    return top


def tar_bytes(manifest: Manifest, directory: Path) -> bytes:
    out = io.BytesIO()
    write_tar(manifest, str(directory), out, verify=True)
    return out.getvalue()


def test_round_trip_is_exact(tmp_path: Path) -> None:
    """disk → tar → disk → tar gives the same bytes, and the same manifest at every station."""
    first = read_diff(str(build(tmp_path / "one"))).manifest
    data = tar_bytes(first, tmp_path / "one")
    (tmp_path / "two").mkdir()
    unpacked = unpack(io.BytesIO(data), str(tmp_path / "two"))
    assert unpacked.notes == ()
    assert unpacked.manifest == first
    second = read_diff(str(tmp_path / "two")).manifest
    assert second == first
    assert tar_bytes(second, tmp_path / "two") == data
    assert tar_of(first, str(tmp_path / "one")) == (digest_of(data), len(data))
    assert os.stat(tmp_path / "two/sparse").st_blocks < 200


def test_tar_depends_on_the_manifest_alone(tmp_path: Path) -> None:
    """The order of the disk does not matter; times above the clamp become the clamp."""
    for name, files in (("one", "abc"), ("two", "cba")):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text(file)
    out = []
    for name in ("one", "two"):
        sink = io.BytesIO()
        manifest = read_diff(str(tmp_path / name)).manifest
        write_tar(manifest, str(tmp_path / name), sink, clamp_ns=10**9)
        out.append(sink.getvalue())
    assert out[0] == out[1]
    with tarfile.open(fileobj=io.BytesIO(out[0])) as tar:
        assert {info.mtime for info in tar} == {1}


def test_gnu_tar_reads_our_tars(tmp_path: Path) -> None:
    """GNU tar unpacks the same tree: names, owners, modes, times, links, attributes, devices."""
    manifest = read_diff(str(build(tmp_path / "one", whiteouts=False))).manifest
    path = tmp_path / "layer.tar"
    path.write_bytes(tar_bytes(manifest, tmp_path / "one"))
    (tmp_path / "two").mkdir()
    judge("tar", "--xattrs", "--xattrs-include=*", "-C", str(tmp_path / "two"), "-xpf", str(path))
    assert read_diff(str(tmp_path / "two")).manifest == manifest


def test_umoci_and_skopeo_read_our_tars(tmp_path: Path) -> None:
    """An image of two of our layers is what umoci unpacks, deletions included."""
    (tmp_path / "base").mkdir()
    for name in ("opaque/hidden", "a/gone", "kept"):
        (tmp_path / "base" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "base" / name).write_text(name)
    layers = [tmp_path / "base", build(tmp_path / "top")]
    layout = image(tmp_path / "layout", layers)
    assert json.loads(judge("skopeo", "inspect", f"oci:{layout}:x"))["Layers"]
    judge("skopeo", "copy", f"oci:{layout}:x", f"dir:{tmp_path / 'copied'}")
    judge("umoci", "unpack", "--image", f"{layout}:x", str(tmp_path / "bundle"))
    rootfs = tmp_path / "bundle/rootfs"
    found = {e.path: e for e in read_diff(str(rootfs)).manifest.entries}
    wanted = {e.path: e for e in read_diff(str(layers[1])).manifest.entries}
    assert b"a/gone" not in found
    assert b"opaque/hidden" not in found
    assert b"kept" in found
    for path, entry in wanted.items():
        if entry.kind is not Kind.WHITEOUT and path not in (b"", b"opaque", b"a"):
            # umoci keeps no fraction of a second that is negative; nothing else differs
            assert found[path] == entry or path == b"big", path


def image(layout: Path, directories: list[Path]) -> Path:
    """A minimal OCI layout, written by hand."""
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        encoded = hashlib.sha256(data).hexdigest()
        (blobs / encoded).write_bytes(data)
        name = f"application/vnd.oci.image.{kind}"
        return {"mediaType": name, "digest": f"sha256:{encoded}", "size": len(data)}

    tars = [tar_bytes(read_diff(str(path)).manifest, path) for path in directories]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in tars]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [put(data, "layer.v1.tar") for data in tars],
    }
    top = put(json.dumps(manifest).encode(), "manifest.v1+json")
    top["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return layout


def test_more_than_eight_gibibytes(tmp_path: Path) -> None:
    """A file beyond the size field of ustar is streamed whole; its holes cost no disk."""
    size = 8 * 1024**3 + 5
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(size)
    entry = Entry(path=b"huge", kind=Kind.FILE, mode=0o644, size=size)

    class Counting:
        def __init__(self) -> None:
            self.size = 0

        def write(self, data: bytes | memoryview, /) -> int:
            self.size += len(data)
            return len(data)

    out = Counting()
    write_tar(Manifest((entry,)), str(tmp_path), out)
    assert out.size == 1536 + size + 507 + 1024


def test_damage_is_noticed(tmp_path: Path) -> None:
    """A stored file that is too short, too long, gone or (on request) different is an error."""
    from lamina.layer.tar import DamagedLayer

    for size in (10, 100_000):
        path = tmp_path / "file"
        path.write_bytes(b"x" * size)
        manifest = read_diff(str(tmp_path)).manifest
        for wrong in (b"x" * (size - 1), b"x" * (size + 1)):
            path.write_bytes(wrong)
            with pytest.raises(DamagedLayer, match="size"):
                tar_of(manifest, str(tmp_path))
        path.write_bytes(b"y" * size)
        write_tar(manifest, str(tmp_path), HashingSink())
        with pytest.raises(DamagedLayer, match="content"):
            write_tar(manifest, str(tmp_path), HashingSink(), verify=True)
        path.unlink()
        with pytest.raises(DamagedLayer, match="No such file"):
            tar_of(manifest, str(tmp_path))


def test_names_that_mean_deletions(tmp_path: Path) -> None:
    """A file called like a whiteout cannot be in an image, and that is said."""
    (tmp_path / ".wh.file").write_text("")
    with pytest.raises(Reserved, match=r"\.wh\.file"):
        tar_of(read_diff(str(tmp_path)).manifest, str(tmp_path))


def test_sockets_are_dropped(tmp_path: Path) -> None:
    """No tar can hold a socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
    assert read_diff(str(tmp_path)).dropped == (b"s",)
