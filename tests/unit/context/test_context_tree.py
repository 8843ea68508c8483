"""A directory of the machine as a tree."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.context.statindex import StatIndex
from lamina.context.tree import ContextTree
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.errors import HostError, UserError
from lamina.layer.entry import Entry, Kind
from lamina.source import SourceFile

Open = Callable[..., ContextTree]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    return root


@pytest.fixture
def open_tree(root: Path, tmp_path: Path) -> Open:
    def make(ignore: str | None = None, *, remembered: bool = False) -> ContextTree:
        matcher = None if ignore is None else parse_ignore_file(SourceFile("ignore", ignore))
        index = StatIndex(str(tmp_path / "index") if remembered else None)
        return ContextTree(str(root), matcher, index)

    return make


def write(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def old(path: Path) -> None:
    """Makes a file look as if it had been left alone for long: its ctime cannot be set."""
    os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))


def paths(tree: ContextTree, path: bytes = b"") -> list[bytes]:
    return [entry.path for entry in tree.walk(path)]


def found(tree: ContextTree, path: bytes, *, follow: bool = True) -> Entry:
    entry = tree.lookup(path, follow=follow)
    assert entry is not None
    return entry


def test_a_walk_is_sorted_by_name_and_depth_first(root: Path, open_tree: Open) -> None:
    """A directory stands before what is in it, and names are in the order of their bytes."""
    for name in ("b", "a/x", "a/y/z", "a-b", "B"):
        write(root / name)
    assert paths(open_tree()) == [b"B", b"a", b"a/x", b"a/y", b"a/y/z", b"a-b", b"b"]
    assert paths(open_tree(), b"a") == [b"a/x", b"a/y", b"a/y/z"]


def test_owners_are_root_and_modes_are_those_on_disk(root: Path, open_tree: Open) -> None:
    """A context belongs to 0:0, whoever made it."""
    os.chmod(write(root / "tool", "abc"), 0o4751)
    entry = found(open_tree(), b"tool")
    assert (entry.kind, entry.mode, entry.size) == (Kind.FILE, 0o4751, 3)
    assert (entry.uid, entry.gid) == (0, 0)


def test_only_directories_that_are_asked_for_are_listed(root: Path, open_tree: Open) -> None:
    """Looking at one file costs the directories above it, not the others."""
    for index in range(10):
        write(root / "other" / str(index))
    write(root / "src" / "main")
    tree = open_tree()
    assert tree.lookup(b"src/main") is not None
    assert tree.counters.files_stat == 3


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("real", b"real"),
        ("/real", b"real"),
        ("../../../real", b"real"),
        ("dir/up", b"real"),
        ("/dir/../real", b"real"),
        ("missing", None),
        ("/etc/hostname", None),
    ],
)
def test_links_are_followed_inside_the_context(
    root: Path, open_tree: Open, target: str, where: bytes | None
) -> None:
    """An absolute link starts at the context's root, and `..` stops there."""
    write(root / "real", "content")
    (root / "dir").mkdir()
    (root / "dir" / "up").symlink_to("../real")
    (root / "link").symlink_to(target)
    tree = open_tree()
    entry = tree.lookup(b"link")
    assert (entry.path if entry else None) == where
    assert found(tree, b"link", follow=False).link == os.fsencode(target)


def test_links_in_directories_are_followed_without_follow(root: Path, open_tree: Open) -> None:
    """`follow` is about the last part of a path alone."""
    write(root / "dir" / "file")
    (root / "link").symlink_to("dir")
    assert found(open_tree(), b"link/file", follow=False).path == b"dir/file"


def test_a_circle_of_links_is_an_error(root: Path, open_tree: Open) -> None:
    """Nobody waits for the end of a circle."""
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(UserError, match="too many levels"):
        open_tree().lookup(b"a")


def test_nothing_is_below_a_file(root: Path, open_tree: Open) -> None:
    """A file in a directory's place leads nowhere."""
    write(root / "file")
    assert open_tree().lookup(b"file/inner") is None


def test_ignored_files_do_not_exist_and_the_line_says_why(root: Path, open_tree: Open) -> None:
    """The tree can tell a path that is left out from one that is not there."""
    for name in ("a.log", "keep/b.txt", "keep/deep/c.log", "node_modules/x/y"):
        write(root / name)
    tree = open_tree("# comment\n**/*.log\nnode_modules\n")
    assert paths(tree) == [b"keep", b"keep/b.txt", b"keep/deep"]
    assert tree.lookup(b"a.log") is None
    assert tree.excluded_by(b"a.log") == 2
    assert tree.excluded_by(b"keep/deep/c.log") == 2
    assert tree.excluded_by(b"node_modules/x/y") == 3
    assert tree.excluded_by(b"missing.log") is None
    assert tree.excluded_by(b"keep/b.txt") is None


def test_an_ignored_directory_stays_for_what_is_included_again(root: Path, open_tree: Open) -> None:
    """Directories are there as far as something in them is."""
    for name in ("a/b/keep", "a/b/drop", "a/c/drop", "other/drop"):
        write(root / name)
    tree = open_tree("*\n!a/b/keep\n")
    assert paths(tree) == [b"a", b"a/b", b"a/b/keep"]
    assert tree.excluded_by(b"a/c/drop") == 1


def test_an_ignored_directory_is_never_read(root: Path, open_tree: Open) -> None:
    """What nothing can include again costs nothing, however large it is."""
    for index in range(20):
        write(root / "node_modules" / str(index))
    tree = open_tree("node_modules\n")
    assert paths(tree) == []
    assert tree.counters.files_stat == 1


def test_sockets_are_empty_files_and_fifos_stay(root: Path, open_tree: Open) -> None:
    """Special files are what BuildKit makes of them."""
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "socket"))
    os.mkfifo(root / "fifo")
    tree = open_tree()
    [fifo, file] = tree.digests(tree.walk(b""))
    assert (fifo.path, fifo.kind) == (b"fifo", Kind.FIFO)
    assert (file.kind, file.size, file.digest) == (Kind.FILE, 0, hashlib.sha256().digest())


def test_names_of_one_file_are_known_to_be_one(root: Path, open_tree: Open) -> None:
    """Hard links can be told from copies."""
    write(root / "a", "x")
    os.link(root / "a", root / "b")
    write(root / "c", "x")
    tree = open_tree()
    assert len(paths(tree)) == 3
    assert tree.same_file(b"a") == tree.same_file(b"b") != tree.same_file(b"c")


def test_digests_are_those_of_the_content(root: Path, open_tree: Open) -> None:
    """Small and large files alike, in the order asked for; directories and links have none."""
    contents = {"a": b"", "b/c": b"abc", "big1": os.urandom(5 << 20), "big2": bytes(6 << 20)}
    for name, content in contents.items():
        write(root / name).write_bytes(content)
    (root / "link").symlink_to("a")
    tree = open_tree()
    entries = tree.digests(tree.walk(b""))
    assert [entry.path for entry in entries] == [b"a", b"b", b"b/c", b"big1", b"big2", b"link"]
    for entry in entries:
        known = contents.get(entry.path.decode())
        assert entry.digest == (b"" if known is None else hashlib.sha256(known).digest())


def test_attributes_come_with_the_digests(root: Path, open_tree: Open) -> None:
    """`user.*` is part of a file; labels of the machine are not."""
    os.setxattr(write(root / "file"), "user.kind", b"x")
    (root / "dir").mkdir()
    os.setxattr(root / "dir", "user.other", b"y")
    tree = open_tree()
    directory, file = tree.digests(tree.walk(b""))
    assert file.xattrs == ((b"user.kind", b"x"),)
    assert directory.xattrs == ((b"user.other", b"y"),)


def test_names_that_are_no_text_are_kept(root: Path, open_tree: Open) -> None:
    """Names are bytes."""
    name = b"\xff\xfe name"
    with open(os.path.join(os.fsencode(root), name), "wb") as file:
        file.write(b"x")
    [entry] = _all(open_tree())
    assert entry.path == name
    assert entry.digest == hashlib.sha256(b"x").digest()


def _all(tree: ContextTree) -> list[Entry]:
    return tree.digests(tree.walk(b""))


def test_a_file_that_changed_after_it_was_listed_is_read_as_it_is(
    root: Path, open_tree: Open
) -> None:
    """A digest never belongs to another size or mode than the entry that carries it."""
    write(root / "file", "before")
    tree = open_tree()
    entries = list(tree.walk(b""))
    write(root / "file", "afterwards")
    [entry] = tree.digests(entries)
    assert entry.size == len("afterwards")
    assert entry.digest == hashlib.sha256(b"afterwards").digest()


def test_a_directory_that_became_a_link_leads_nowhere(
    root: Path, tmp_path: Path, open_tree: Open
) -> None:
    """Exchanging a directory while the build looks does not lead out of the context."""
    write(root / "dir" / "file", "inside")
    write(tmp_path / "outside" / "file", "secret")
    tree = open_tree()
    entries = [entry for entry in tree.walk(b"") if entry.kind is Kind.FILE]
    (root / "dir").rename(root / "moved")
    (root / "dir").symlink_to(tmp_path / "outside")
    with pytest.raises(HostError):
        tree.digests(entries)
    with (
        contextlib.closing(tree.descent()) as descent,
        pytest.raises(OSError, match=r"symbolic|directory"),
    ):
        descent.directory(b"dir")


def test_a_file_that_became_a_fifo_does_not_block(root: Path, open_tree: Open) -> None:
    """The build ends with an error instead of waiting for a writer."""
    write(root / "file", "x")
    tree = open_tree()
    entries = list(tree.walk(b""))
    (root / "file").unlink()
    os.mkfifo(root / "file")
    with pytest.raises((UserError, HostError)):
        tree.digests(entries)


def test_a_missing_context_is_the_users_mistake(root: Path) -> None:
    """The error names the directory."""
    with pytest.raises(UserError, match="nowhere"):
        ContextTree(str(root / "nowhere"), None, StatIndex(None))
    write(root / "file")
    with pytest.raises(UserError, match="not a directory"):
        ContextTree(str(root / "file"), None, StatIndex(None))


class TestMemory:
    """What is remembered from build to build."""

    @pytest.fixture(autouse=True)
    def settle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The files of these tests are young: let the clock's granularity be nothing."""
        monkeypatch.setattr("lamina.context.statindex._TICK_NS", -(10**9))

    def build(self, open_tree: Open) -> tuple[list[Entry], int]:
        with open_tree(remembered=True) as tree:
            return tree.digests(tree.walk(b"")), tree.counters.files_read

    def test_unchanged_files_are_never_read_again(self, root: Path, open_tree: Open) -> None:
        """The second build reads nothing and says the same, attributes included."""
        for name in ("a", "b/c", "big"):
            write(root / name, name)
        os.setxattr(root / "a", "user.kind", b"x")
        first, read = self.build(open_tree)
        assert read == 3
        assert self.build(open_tree) == (first, 0)

    def test_a_changed_file_is_read(self, root: Path, open_tree: Open) -> None:
        """Same size and same mtime do not deceive: the ctime cannot be set."""
        path = write(root / "file", "one")
        old(path)
        write(root / "other", "x")
        self.build(open_tree)
        path.write_text("two")
        old(path)
        entries, read = self.build(open_tree)
        assert read == 1
        assert entries[0].digest == hashlib.sha256(b"two").digest()

    def test_an_exchanged_file_is_read(self, root: Path, open_tree: Open) -> None:
        """Another inode is another file."""
        old(write(root / "file", "one"))
        self.build(open_tree)
        old(write(root / "new", "two"))
        (root / "new").rename(root / "file")
        entries, read = self.build(open_tree)
        assert read == 1
        assert entries[0].digest == hashlib.sha256(b"two").digest()


def test_a_young_file_is_not_remembered(root: Path, open_tree: Open) -> None:
    """A file that was written at the moment of the scan could change with the same times."""
    path = write(root / "file", "one")
    now = os.stat(path).st_ctime_ns
    with open_tree(remembered=True) as tree:
        tree.digests(tree.walk(b""))
        young = os.stat(path).st_ctime_ns > now - 1
    assert young
    path.write_text("two")
    with open_tree(remembered=True) as tree:
        [entry] = tree.digests(tree.walk(b""))
    assert entry.digest == hashlib.sha256(b"two").digest()
