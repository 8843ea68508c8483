"""The layers that COPY and ADD write."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.errors import UserError
from lamina.graph.ops import CopyOp, InlineSource, TreeSource
from lamina.layer.entry import Entry, Kind
from lamina.ops.copying.content import SourceChanged
from lamina.ops.copying.select import select
from lamina.ops.copying.write import write
from tests.support.copying import NOW, Copying, by_path, lay_out, lies_on_disk

PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:User:/home/user:/bin/sh\nodd\n"
GROUP = "root:x:0:\nstaff:x:50:user\n"


def tar(members: dict[str, bytes | str | None]) -> bytes:
    """Files, directories (None) and links (str)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mtime = 7, 8, 1_000
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o750
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return stream.getvalue()


def shape(entries: dict[str, Entry]) -> dict[str, str]:
    """Path to mode and owner, as a listing shows them."""
    return {path: f"{e.mode:o} {e.uid}:{e.gid}" for path, e in entries.items()}


@pytest.mark.parametrize(
    ("source", "dest", "made"),
    [
        ("foo", "/foo2", {"foo2"}),
        ("foo", "/", {"foo"}),
        ("foo", "/new/", {"new", "new/foo"}),
        ("foo", "/new/.", {"new", "new/foo"}),
        ("foo", "/new/name", {"new", "new/name"}),
        ("foo", "/there", {"there", "there/foo"}),
        ("foo", "/there/", {"there", "there/foo"}),
        ("dir", "/there", {"there", "there/sub", "there/sub/x"}),
        ("dir", "/new", {"new", "new/sub", "new/sub/x"}),
        ("dir", "/a/b/c/", {"a", "a/b", "a/b/c", "a/b/c/sub", "a/b/c/sub/x"}),
        ("dir", "/", {"sub", "sub/x"}),
        ("dir/*", "/", {"x"}),
        ("f* bar", "/new/", {"new", "new/foo", "new/bar"}),
        ("nomatch*", "/new/", set()),
        ("foo", "/link/", {"real", "real/foo"}),
        ("foo", "/link/name", {"real", "real/name"}),
        ("foo", "/dangling/", {"target", "target/deep", "target/deep/foo"}),
        ("foo", "/dangling", {"target", "target/deep"}),
        ("foo", "/up/../../escaped", {"escaped"}),
        ("tofoo", "/", {"tofoo"}),
    ],
)
def test_where_things_go(copying: Copying, source: str, dest: str, made: set[str]) -> None:
    """A slash at the end, or an existing directory, says that files keep their names.

    Links in the destination are followed inside the parent.
    """
    files = {"foo": "foo", "bar": "bar", "dir/sub/x": "x", "tofoo": "-> foo"}
    lay_out(copying.source, files)
    lay_out(
        copying.parent,
        {
            "there/old": "old",
            "real/old": "old",
            "link": "-> /real",
            "dangling": "-> target/deep",
            "up": "-> ../../..",
        },
    )
    written = copying.run(source, dest)
    assert set(by_path(written)) == made
    assert lies_on_disk(written, copying.diff)


def test_what_is_written(copying: Copying) -> None:
    """Content, digests, modes, times, links and special files are those of the source."""
    lay_out(copying.source, {"d/file": "content", "d/link": "-> ../nowhere", "d/empty": None})
    (copying.source / "d/file").chmod(0o4755)
    os.utime(copying.source / "d/file", ns=(1, 1_500_000_000_000_000_001))
    os.mkfifo(copying.source / "d/fifo", 0o620)
    os.setxattr(copying.source / "d/file", "user.a", b"b")
    (copying.source / "d/empty").chmod(0o1777)
    written = copying.run("d", "/out/")
    entries = by_path(written)
    file = entries["out/file"]
    assert (file.mode, file.size, file.mtime_ns) == (0o4755, 7, 1_500_000_000_000_000_001)
    assert file.digest == hashlib.sha256(b"content").digest()
    assert file.xattrs == ((b"user.a", b"b"),)
    assert entries["out/link"].link == b"../nowhere"
    assert entries["out/fifo"].kind is Kind.FIFO
    assert entries["out/empty"].mode == 0o1777
    assert (copying.diff / "out/file").read_bytes() == b"content"
    assert lies_on_disk(written, copying.diff)


def test_a_created_directory_is_root_owned_0755_whatever_the_source(copying: Copying) -> None:
    """COPY dir /new makes /new of its own; what is in it keeps the source's modes."""
    lay_out(copying.source, {"dir/sub/x": ""})
    (copying.source / "dir").chmod(0o700)
    (copying.source / "dir/sub").chmod(0o700)
    entries = by_path(copying.run("dir", "/new"))
    assert entries["new"].mode == 0o755
    assert entries["new/sub"].mode == 0o700


def test_existing_directories(copying: Copying) -> None:
    """The destination keeps its attributes; directories that are copied give theirs."""
    lay_out(copying.source, {"dir/sub/x": "", "dir/same": None})
    lay_out(copying.parent, {"there/sub/old": "", "there/same": None, "there/other/y": ""})
    (copying.source / "dir/sub").chmod(0o711)
    (copying.parent / "there").chmod(0o750)
    (copying.parent / "there/sub").chmod(0o700)
    entries = by_path(copying.run("dir", "/there"))
    assert set(entries) == {"there", "there/sub", "there/sub/x"}
    assert entries["there"].mode == 0o750
    assert entries["there/sub"].mode == 0o711


def test_times_of_directories(copying: Copying) -> None:
    """Existing ones keep theirs, so that the layer is the same whenever it is made."""
    lay_out(copying.source, {"file": ""})
    lay_out(copying.parent, {"there/old": ""})
    os.utime(copying.parent / "there", ns=(5, 5))
    entries = by_path(copying.run("file", "/there/new/"))
    assert entries["there"].mtime_ns == 5
    assert entries["there/new"].mtime_ns == NOW


def test_the_epoch_dates_everything_that_is_made(copying: Copying) -> None:
    """With SOURCE_DATE_EPOCH two builds make the same layer."""
    lay_out(copying.source, {"dir/sub/x": "", "dir/l": "-> x"})
    entries = by_path(copying.run("dir", "/new/", epoch=77))
    assert {entry.mtime_ns for entry in entries.values()} == {77_000_000_000}
    assert os.stat(copying.diff / "new/sub").st_mtime == 77


@pytest.mark.parametrize(
    ("files", "source", "dest", "message"),
    [
        ({"foo": "", "there/file": None}, "foo", "/there/file", None),
        ({}, "file", "/there", "cannot replace to directory /there/file with file"),
        ({}, "dir", "/plain", "cannot copy to non-directory: /plain"),
        ({}, "dir", "/plain/", "mkdir /plain: not a directory"),
        ({}, "file", "/plain/x", "mkdir /plain: not a directory"),
        ({}, "clash", "/there", "cannot copy to non-directory: /there/plain"),
        ({}, "clash", "/links", "cannot copy to non-directory: /links/plain"),
    ],
)
def test_what_is_in_the_way(
    copying: Copying,
    files: dict[str, str | None],
    source: str,
    dest: str,
    message: str | None,
) -> None:
    """A directory is never replaced with a file, nor a file with a directory."""
    lay_out(copying.source, {"file": "", "dir/x": "", "clash/plain/x": "", **files})
    lay_out(
        copying.parent,
        {"plain": "", "there/file/x": "", "there/plain": "", "links/plain": "-> ../there"},
    )
    if message is None:
        copying.run(source, dest)
        return
    with pytest.raises(UserError, match=re.escape(message)):
        copying.run(source, dest)


def test_links_are_replaced_not_written_through(copying: Copying) -> None:
    """A link in a destination directory gives way to a file of its name."""
    lay_out(copying.source, {"file": "new"})
    lay_out(copying.parent, {"there/file": "-> ../victim", "victim": "old"})
    entries = by_path(copying.run("file", "/there/"))
    assert set(entries) == {"there", "there/file"}
    assert entries["there/file"].kind is Kind.FILE


def test_a_link_that_is_the_destination_is_written_through(copying: Copying) -> None:
    """COPY file /link writes what the link leads to."""
    lay_out(copying.source, {"file": "new"})
    lay_out(copying.parent, {"link": "-> a/b", "a/b": "old"})
    assert set(by_path(copying.run("file", "/link"))) == {"a", "a/b"}


def test_later_sources_win(copying: Copying) -> None:
    """Sources are written in order, one over the other."""
    lay_out(copying.source, {"a/x": "first", "a/d/y": "", "b/x": "second", "b/d": None})
    (copying.source / "b/d").chmod(0o700)
    written = copying.run("a b", "/out/")
    entries = by_path(written)
    assert (copying.diff / "out/x").read_text() == "second"
    assert entries["out/d"].mode == 0o700
    assert lies_on_disk(written, copying.diff)


def test_hard_links_stay_one_file(copying: Copying) -> None:
    """Within one source; in the manifest the first by path is the file."""
    lay_out(copying.source, {"d/b/file": "content", "e/other": ""})
    os.link(copying.source / "d/b/file", copying.source / "d/b-link")
    os.link(copying.source / "d/b/file", copying.source / "e/apart")
    written = copying.run("d e", "/")
    entries = by_path(written)
    assert entries["b-link"].kind is Kind.FILE
    assert (entries["b/file"].kind, entries["b/file"].link) == (Kind.HARDLINK, b"b-link")
    assert entries["apart"].kind is Kind.FILE
    assert os.stat(copying.diff / "b-link").st_nlink == 2
    assert lies_on_disk(written, copying.diff)


def test_a_name_of_a_hard_link_may_be_overwritten(copying: Copying) -> None:
    """The other name keeps the content."""
    lay_out(copying.source, {"d/one": "content", "e/one": "new"})
    os.link(copying.source / "d/one", copying.source / "d/two")
    written = copying.run("d e", "/")
    assert (copying.diff / "one").read_text() == "new"
    assert (copying.diff / "two").read_text() == "content"
    assert {entry.kind for entry in by_path(written).values()} == {Kind.FILE}
    assert lies_on_disk(written, copying.diff)


@pytest.mark.parametrize(
    ("chown", "owner", "unknown"),
    [
        ("100:200", "100:200", ()),
        ("100", "100:100", ()),
        ("user", "1000:1001", ()),
        ("user:staff", "1000:50", ()),
        ("5:staff", "5:50", ()),
        ("root", "0:0", ()),
        ("user:", "1000:0", ()),
        (":staff", "0:50", ()),
        ("nobody", "0:0", ("nobody",)),
        ("user:nogroup", "1000:0", ("nogroup",)),
        ("odd", "0:0", ()),
        ("99999999999", "0:0", ("99999999999",)),
    ],
)
def test_chown(copying: Copying, chown: str, owner: str, unknown: tuple[str, ...]) -> None:
    """Everything that is made belongs to the owner, parents too; what was there does not change."""
    lay_out(copying.source, {"dir/sub/x": ""})
    lay_out(copying.parent, {"etc/passwd": PASSWD, "etc/group": GROUP, "there/old": ""})
    written = copying.run("dir", "/there/a/b/", chown=chown)
    got = {path: line.partition(" ")[2] for path, line in shape(by_path(written)).items()}
    assert got.pop("there") == "0:0"
    assert set(got.values()) == {owner}
    assert written.unknown == unknown


def test_chown_in_an_empty_parent(copying: Copying) -> None:
    """Numbers need no files; names are not found, which is told."""
    lay_out(copying.source, {"x": ""})
    assert copying.run("x", "/", chown="1:2").unknown == ()
    assert copying.run("x", "/", chown="a:b").unknown == ("a", "b")


def test_users_are_looked_up_through_links(copying: Copying) -> None:
    """/etc/passwd may be a link, which stays in the parent."""
    lay_out(copying.source, {"x": ""})
    lay_out(copying.parent, {"etc/passwd": "-> /usr/lib/passwd", "usr/lib/passwd": PASSWD})
    entries = by_path(copying.run("x", "/", chown="user"))
    assert (entries["x"].uid, entries["x"].gid) == (1000, 1001)
    (copying.parent / "etc/passwd").unlink()
    (copying.parent / "etc/passwd").symlink_to("/../../../../../../../../../../etc/hostname")
    assert copying.run("x", "/", chown="user").unknown == ("user",)


def test_chmod(copying: Copying) -> None:
    """An octal mode is that of all that is made, but not of links and of what was there."""
    lay_out(copying.source, {"dir/sub/x": "", "dir/l": "-> sub"})
    lay_out(copying.parent, {"there/old": ""})
    assert shape(by_path(copying.run("dir", "/there/p/", chmod="4770"))) == {
        "there": "755 0:0",
        "there/p": "770 0:0",
        "there/p/l": "777 0:0",
        "there/p/sub": "4770 0:0",
        "there/p/sub/x": "4770 0:0",
    }
    assert by_path(copying.run("dir", "/p/", chmod="u=rwX,go="))["p/sub/x"].mode == 0o600


def test_heredocs(copying: Copying) -> None:
    """Files of the Dockerfile are 0644 root:root, and take the flags."""
    sources = (InlineSource(name="EOF", content=b"a\n"), InlineSource(name="b", content=b""))
    entries = by_path(copying.run(sources, "/out/"))
    assert shape(entries) == {"out": "755 0:0", "out/EOF": "644 0:0", "out/b": "644 0:0"}
    assert (copying.diff / "out/EOF").read_bytes() == b"a\n"
    entries = by_path(copying.run(sources[:1], "/file", chown="1:2", chmod="600"))
    assert shape(entries) == {"file": "600 1:2"}


def test_parents_keep_the_directories_above(copying: Copying) -> None:
    """--parents makes them like the source's; where they exist they take the source's mode."""
    lay_out(copying.source, {"a/b/c/file": "", "a/b/other": ""})
    lay_out(copying.parent, {"a/old": ""})
    (copying.source / "a").chmod(0o711)
    (copying.source / "a/b").chmod(0o700)
    source = TreeSource(input=1, path="/", include=("a/b/c",), required=("/a/b/c",))
    entries = by_path(copying.run((source,), "/"))
    assert shape(entries) == {
        "a": "711 0:0",
        "a/b": "700 0:0",
        "a/b/c": "755 0:0",
        "a/b/c/file": "644 0:0",
    }


def test_a_downloaded_file_keeps_its_name(copying: Copying) -> None:
    """Its path is no pattern."""
    lay_out(copying.source, {"f*": "content"})
    source = TreeSource(input=1, path="/f*", wildcards=False)
    assert set(by_path(copying.run((source,), "/out/"))) == {"out", "out/f*"}


class TestArchives:
    """ADD of a local tar."""

    @pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
    def test_it_is_unpacked(self, copying: Copying, pack: Callable[[bytes], bytes]) -> None:
        """Whatever it is compressed with; owners and times are the tar's."""
        archive = pack(tar({"d": None, "d/f": b"x", "d/l": "f"}))
        lay_out(copying.source, {"t": archive})
        written = copying.run("t", "/out/", unpack=True)
        entries = by_path(written)
        assert shape(entries) == {
            "out": "755 0:0",
            "out/d": "750 7:8",
            "out/d/f": "644 7:8",
            "out/d/l": "777 7:8",
        }
        assert entries["out/d/f"].mtime_ns == 1_000_000_000_000
        assert lies_on_disk(written, copying.diff)

    def test_it_is_copied_where_it_is_not_to_be_unpacked(self, copying: Copying) -> None:
        """COPY never unpacks."""
        lay_out(copying.source, {"t": tar({"f": b""})})
        assert set(by_path(copying.run("t", "/out/"))) == {"out", "out/t"}

    @pytest.mark.parametrize(
        "content", [b"", b"text", bytes(1024), gzip.compress(b"text"), b"\x1f\x8b broken", b"BZh9"]
    )
    def test_other_files_are_copied(self, copying: Copying, content: bytes) -> None:
        """A name that ends in .tar.gz makes no archive."""
        lay_out(copying.source, {"t.tar.gz": content})
        assert set(by_path(copying.run("t.tar.gz", "/out/", unpack=True))) == {
            "out",
            "out/t.tar.gz",
        }

    def test_the_owner_is_chowns(self, copying: Copying) -> None:
        """--chown is about all that is unpacked, and the directory that is made for it."""
        lay_out(copying.source, {"t": tar({"d": None, "d/f": b""})})
        entries = by_path(copying.run("t", "/out/", unpack=True, chown="100:200"))
        assert {f"{e.uid}:{e.gid}" for e in entries.values()} == {"100:200"}

    def test_links_of_the_archive_count_for_the_next_source(self, copying: Copying) -> None:
        """A file after an archive goes where a link of the archive leads."""
        lay_out(copying.source, {"t": tar({"out/link": "/real", "real": None}), "f": "x"})
        copying.run("t", "/", unpack=True)
        sources = (
            TreeSource(input=1, path="/t", unpack=True),
            TreeSource(input=1, path="/f", unpack=True),
        )
        written = copying.run(sources, "/out/link/")
        assert "out/link/f" in by_path(written)
        assert lies_on_disk(written, copying.diff)

    def test_an_archive_after_files(self, copying: Copying) -> None:
        """What the layer has already is merged with, or replaced."""
        lay_out(
            copying.source,
            {
                "files/d/keep": "1",
                "files/file": "2",
                "files/tree/x/y": "3",
                "t": tar({"d": None, "d/new": b"4", "file": None, "tree": b"5", "file/z": b"6"}),
            },
        )
        written = copying.run("files t", "/out/", unpack=True)
        entries = by_path(written)
        assert {path for path, e in entries.items() if e.kind is Kind.FILE} == {
            "out/d/keep",
            "out/d/new",
            "out/tree",
            "out/file/z",
        }
        assert entries["out/d"].mode == 0o750
        assert (copying.diff / "out/tree").read_bytes() == b"5"
        assert not [name for name in os.listdir(copying.diff.parent) if "unpack" in name]

    def test_nothing_gets_out(self, copying: Copying) -> None:
        """An archive that leaves its directory is an error."""
        lay_out(copying.source, {"t": tar({"../../escaped": b""})})
        with pytest.raises(UserError):
            copying.run("t", "/out/", unpack=True)


def test_a_file_that_is_not_what_was_selected_is_an_error(copying: Copying) -> None:
    """The layer never has other content than the key says, for small files and large ones."""
    for size in (10, 3 << 20):
        path = copying.source / f"file{size}"
        path.write_bytes(bytes(size))
        tree = copying.tree(copying.source)
        source = TreeSource(input=1, path=f"/file{size}")
        selection = select(tree, source)
        path.write_bytes(b"x" * size)
        os.utime(path, ns=(selection.matches[0].entry.mtime_ns,) * 2)
        diff = copying.diff.parent / f"changed{size}"
        diff.mkdir()
        with pytest.raises(SourceChanged, match=f"/file{size} changed"):
            write(
                CopyOp(sources=(source,), dest="/"),
                [selection],
                copying.tree(copying.parent),
                str(diff),
                now_ns=NOW,
            )


def test_large_and_sparse_files(copying: Copying) -> None:
    """Large files are whole, and their holes stay holes."""
    path = copying.source / "sparse"
    with path.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"x" * 5000)
    (copying.source / "large").write_bytes(os.urandom(3 << 20))
    written = copying.run("sparse large", "/")
    assert lies_on_disk(written, copying.diff)
    assert (copying.diff / "sparse").stat().st_blocks * 512 < 1 << 20


def test_the_root_of_the_diff_is_like_the_parents(copying: Copying) -> None:
    """An overlay shows the attributes of the highest root."""
    copying.parent.chmod(0o711)
    lay_out(copying.source, {"x": ""})
    written = copying.run("x", "/")
    assert set(by_path(written)) == {"x"}
    assert copying.diff.stat().st_mode & 0o7777 == 0o711


def test_nothing_gets_out_of_the_parent(copying: Copying, tmp_path: Path) -> None:
    """Links of the parent to places on the machine lead nowhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    lay_out(copying.source, {"x": "", "d/y": ""})
    lay_out(copying.parent, {"link": f"-> {outside}", "up": "-> ../outside"})
    copying.run("x d", "/link/")
    copying.run("x d", "/up/")
    assert list(outside.iterdir()) == []
