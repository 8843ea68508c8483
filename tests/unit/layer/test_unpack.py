"""Layers and archives as tars, well-meant and hostile."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.overlay import is_opaque, is_whiteout
from lamina.layer.scan import read_diff
from lamina.layer.tar import tar_of
from lamina.layer.unpack import (
    MalformedArchive,
    MalformedLayer,
    unpack,
    unpack_archive,
)
from lamina.oci.digest import digest_of

pytestmark = pytest.mark.root

File = tuple[str, bytes | str | None]
"""A name with its content, "-> target" of a symlink, "= target" of a hard link, or None."""


def tar(*files: File | tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for file in files:
            if isinstance(file, tarfile.TarInfo):
                made.addfile(file)
                continue
            name, what = file
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            match what:
                case None:
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    made.addfile(info)
                case bytes():
                    info.size = len(what)
                    made.addfile(info, io.BytesIO(what))
                case str():
                    kind, info.linkname = what.split(" ", 1)
                    info.type = tarfile.SYMTYPE if kind == "->" else tarfile.LNKTYPE
                    made.addfile(info)
    return out.getvalue()


def device(name: str, major: int, minor: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, major, minor
    return info


@pytest.fixture
def diff(tmp_path: Path) -> Path:
    directory = tmp_path / "outer" / "diff"
    directory.mkdir(parents=True)
    return directory


def entries(manifest: Manifest) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in manifest.entries}


def outside(diff: Path) -> list[str]:
    """What is beside the diff directory: nothing, if all is well."""
    return sorted(name for name in os.listdir(diff.parent) if name != "diff")


def test_layer_in_overlay_form(diff: Path) -> None:
    """Marker files become what overlayfs understands, wherever in the tar they stand."""
    data = tar(
        ("a/.wh..wh..opq", b""),
        ("a", None),
        ("a/new", b"x"),
        ("b/.wh.gone", b""),
        ("c/.wh.again", b""),
        ("c/again/file", b"y"),
        (".wh..wh.plnk", None),
    )
    found = entries(unpack(io.BytesIO(data), str(diff)).manifest)
    assert is_opaque(os.fsencode(diff / "a"))
    assert is_whiteout(os.lstat(diff / "b/gone"))
    assert is_opaque(os.fsencode(diff / "c/again"))
    assert found[b"a"].opaque
    assert found[b"b/gone"] == Entry(path=b"b/gone", kind=Kind.WHITEOUT)
    assert found[b"c/again"].opaque
    assert set(found) == {b"a", b"a/new", b"b", b"b/gone", b"c", b"c/again", b"c/again/file"}


def test_manifest_is_what_a_scan_finds(diff: Path) -> None:
    """The manifest made while unpacking equals one made from the disk."""
    data = tar(
        ("./", None),
        ("d/z", b"z" * 100_000),
        ("d/a", "= d/z"),
        ("d/link", "-> ../../elsewhere"),
        ("d/.wh.x", b""),
        device("dev/null", 1, 3),
        ("e", None),
    )
    unpacked = unpack(io.BytesIO(data), str(diff))
    assert unpacked.manifest.entries[1:] == read_diff(str(diff)).manifest.entries
    assert entries(unpacked.manifest)[b"d/z"].link == b"d/a"
    assert unpacked.diff_id == digest_of(data)
    assert unpacked.size == len(data)


def test_metadata(diff: Path) -> None:
    """Mode with setuid, owner, time and attributes are on disk and in the manifest."""
    info = tarfile.TarInfo("bin")
    info.mode, info.uid, info.gid, info.mtime = 0o6755, 1234, 5_000_000, 0
    info.pax_headers = {
        "mtime": "1234567890.123456789",
        "SCHILY.xattr.user.note": "hello",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "label",
    }
    found = entries(unpack(io.BytesIO(tar(info)), str(diff)).manifest)[b"bin"]
    status = os.stat(diff / "bin")
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o6755, 1234, 5_000_000)
    assert status.st_mtime_ns == found.mtime_ns == 1234567890123456789
    assert found.xattrs == ((b"user.note", b"hello"),)
    assert os.listxattr(diff / "bin") == ["user.note"]


def test_missing_directories_are_made(diff: Path) -> None:
    """A directory that the tar does not have is 0755 root:root, and an entry."""
    found = entries(unpack(io.BytesIO(tar(("a/b/c", b""))), str(diff)).manifest)
    assert [found[path].mode for path in (b"a", b"a/b")] == [0o755, 0o755]
    assert stat.S_IMODE(os.stat(diff / "a/b").st_mode) == 0o755


def test_later_members_replace_earlier_ones(diff: Path) -> None:
    """The last member of a name counts; directories are merged; a link's file may be replaced."""
    data = tar(
        ("f", b"old"),
        ("l", "= f"),
        ("f", b"new"),
        ("d/x", b""),
        ("d", None),
        ("e/x", b""),
        ("e", b"a file now"),
        ("g", b"file"),
        ("g/in", b""),
    )
    with pytest.raises(MalformedLayer, match="no directory"):
        unpack(io.BytesIO(data), str(diff))
    again = diff.parent / "again"
    again.mkdir()
    data = tar(
        ("f", b"old"),
        ("l", "= f"),
        ("f", b"new"),
        ("d/x", b""),
        ("d", None),
        ("e/x", b""),
        ("e", b"a file now"),
        ("g", b"file"),
        ("g", None),
    )
    found = entries(unpack(io.BytesIO(data), str(again)).manifest)
    assert (again / "f").read_bytes() == b"new"
    assert (again / "l").read_bytes() == b"old"
    assert found[b"l"].kind is found[b"f"].kind is Kind.FILE
    assert b"d/x" in found
    assert b"e/x" not in found
    assert found[b"g"].opaque
    assert read_diff(str(again)).manifest.entries == tuple(found.values())


def test_symlinks_are_followed_inside(diff: Path) -> None:
    """A name that goes through a symlink of the layer stays in it, absolute ones included."""
    data = tar(("lib", "-> /usr/lib"), ("lib/x", b"1"), ("usr/l", "-> ../lib"), ("usr/l/y", b"2"))
    found = entries(unpack(io.BytesIO(data), str(diff)).manifest)
    assert {b"usr/lib/x", b"usr/lib/y"} <= set(found)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([("../evil", b"x")], r"\.\."),
        ([("a/../../evil", b"x")], r"\.\."),
        ([("up", "-> ../.."), ("up/evil", b"x")], "leaves it"),
        ([("a/up", "-> ../../.."), ("a/up/evil", b"x")], "leaves it"),
        ([("loop", "-> loop"), ("loop/x", b"x")], "circle"),
        ([("f", b"x"), ("f/g", b"x")], "no directory"),
        ([("h", "= ../outside")], r"\.\."),
        ([("h", "= nothing")], "hard link"),
        ([("d", None), ("h", "= d")], "hard link"),
        ([("h", b""), ("h", "= h")], "hard link"),
        ([device("w", 0, 0)], "deletion"),
        ([(".", b"x")], "root"),
        ([("a/.wh.", b"")], "deletes nothing"),
        ([("a/.wh...", b"")], "deletes nothing"),
        ([("x" * 300, b"")], "cannot be made"),
    ],
)
def test_hostile_layers(diff: Path, files: list[File], reason: str) -> None:
    """What would leave the layer, or makes no sense, is an error, and nothing is outside."""
    with pytest.raises(MalformedLayer, match=reason):
        unpack(io.BytesIO(tar(*files)), str(diff))
    assert outside(diff) == []


def test_absolute_names_are_inside(diff: Path) -> None:
    """A leading slash means the root of the layer, as it does for Docker."""
    unpack(io.BytesIO(tar(("/etc/x", b"x"), ("l", "= /etc/x"))), str(diff))
    assert (diff / "etc/x").stat().st_nlink == 2


def test_symlinks_may_point_anywhere(diff: Path) -> None:
    """A symlink that is not gone through is kept as it is."""
    unpack(io.BytesIO(tar(("l", "-> ../../../etc/passwd"))), str(diff))
    assert os.readlink(diff / "l") == "../../../etc/passwd"


@pytest.mark.parametrize("cut", [100, 600, 1100, 1535])
def test_truncated_layers(diff: Path, cut: int) -> None:
    """A layer that ends too early is an error, not a small layer."""
    with pytest.raises(MalformedLayer):
        unpack(io.BytesIO(tar(("a", b"x" * 2000))[:cut]), str(diff))


SEED = tar(
    ("d", None),
    ("d/file", b"content"),
    ("l" * 120, "-> " + "t" * 120),
    ("h", "= d/file"),
    ("d/.wh.gone", b""),
    device("n", 1, 3),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, len(SEED) - 10240), st.binary(min_size=1, max_size=9))))
def test_damaged_layers(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, bytes]]
) -> None:
    """Whatever bytes are changed, the answer is a layer or MalformedLayer, and all stays inside."""
    data = bytearray(SEED)
    for at, new in edits:
        data[at : at + len(new)] = new
    for at in range(0, len(data), 512):  # so that most headers get past their checksum
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    directory = tmp_path_factory.mktemp("outer") / "diff"
    directory.mkdir()
    try:
        unpacked = unpack(io.BytesIO(bytes(data)), str(directory))
    except MalformedLayer:
        pass
    else:
        rescanned = [e for e in read_diff(str(directory)).manifest.entries if e.path]
        assert [e for e in unpacked.manifest.entries if e.path] == rescanned
    assert outside(directory) == []


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files(diff: Path, tmp_path: Path, form: str) -> None:
    """Sparse files of GNU tar are unpacked with their holes, in all its formats."""
    import subprocess

    with open(tmp_path / "sparse", "wb") as file:
        for place in range(10):
            file.seek(place << 20)
            file.write(b"data%d" % place * 1000)
        file.truncate(11 << 20)
    options = ["--format=gnu"] if form == "gnu" else ["--format=pax", f"--sparse-version={form}"]
    data = subprocess.run(
        ["tar", "-C", str(tmp_path), "--sparse", *options, "-c", "sparse"],
        check=True,
        capture_output=True,
    ).stdout
    assert len(data) < 1 << 20
    found = entries(unpack(io.BytesIO(data), str(diff)).manifest)[b"sparse"]
    assert (diff / "sparse").read_bytes() == (tmp_path / "sparse").read_bytes()
    assert found.size == 11 << 20
    assert found == entries(read_diff(str(diff)).manifest)[b"sparse"]
    assert os.stat(diff / "sparse").st_blocks < 2000


# Archives.

LOWER = {
    b"": Entry(path=b"", kind=Kind.DIRECTORY, mode=0o755),
    b"app": Entry(path=b"app", kind=Kind.DIRECTORY, mode=0o700, uid=5, gid=6),
    b"app/lib": Entry(path=b"app/lib", kind=Kind.DIRECTORY, mode=0o750),
    b"app/run": Entry(path=b"app/run", kind=Kind.SYMLINK, link=b"/lib"),
    b"app/old": Entry(path=b"app/old", kind=Kind.DIRECTORY, mode=0o711),
    b"app/file": Entry(path=b"app/file", kind=Kind.FILE, mode=0o711),
}


def add(
    diff: Path, *files: File, base: bytes = b"app", owner: tuple[int, int] | None = None
) -> Manifest:
    data = io.BytesIO(tar(*files))
    return unpack_archive(data, str(diff), base=base, lower=LOWER.get, owner=owner).manifest


def test_archives_have_no_whiteouts(diff: Path) -> None:
    """In an archive `.wh.` is a name like any other."""
    found = entries(add(diff, (".wh.x", b"plain")))
    assert found[b"app/.wh.x"].size == 5


def test_archives_lie_on_what_is_there(diff: Path) -> None:
    """Directories that are below keep their mode and owner; links are followed from the base."""
    found = entries(add(diff, ("lib/a", b""), ("run/b", b""), ("new/c", b"")))
    assert (found[b"app"].mode, found[b"app"].uid) == (0o700, 5)
    assert found[b"app/lib"].mode == 0o750
    assert {b"app/lib/a", b"app/lib/b"} <= set(found)
    assert found[b"app/new"].mode == 0o755
    assert not found[b"app/new"].opaque


def test_archives_replace_what_is_there(diff: Path) -> None:
    """A file hides a directory; a directory made in its place later starts empty."""
    found = entries(add(diff, ("old", b"x"), ("file", None), ("lib", None)))
    assert found[b"app/old"].kind is Kind.FILE
    assert found[b"app/file"].kind is Kind.DIRECTORY
    assert not found[b"app/lib"].opaque
    again = diff.parent / "again"
    again.mkdir()
    assert entries(add(again, ("old", b"x"), ("old", None)))[b"app/old"].opaque


def test_owner_of_archives(diff: Path) -> None:
    """With an owner everything unpacked is theirs, and the directory made for it too."""
    found = entries(add(diff, ("d/f", b""), ("d", None), base=b"out", owner=(100, 200)))
    assert {(e.uid, e.gid) for e in found.values()} == {(100, 200)}
    assert found[b"out"].mode == 0o755


def test_hostile_archives(diff: Path) -> None:
    """Archives cannot leave the directory that they are unpacked to."""
    for files in ([("../x", b"")], [("l", "-> ../.."), ("l/x", b"")], [("h", "= ../../x")]):
        with pytest.raises(MalformedArchive):
            add(diff, *files, base=b"")
    assert outside(diff) == []


def test_unpacked_layer_makes_the_same_tar_again(diff: Path) -> None:
    """The tar that we make of what we unpacked has one diff ID, however often it is made."""
    manifest = unpack(io.BytesIO(SEED), str(diff)).manifest
    first = tar_of(manifest, str(diff))
    assert tar_of(read_diff(str(diff)).manifest, str(diff)) == first
