"""The merged tree of layers, read from their directories."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.errors import HostError
from lamina.layer.entry import Kind
from lamina.layer.overlay import set_opaque
from lamina.layer.scan import read_diff
from lamina.layer.tree import Tree
from lamina.oci.digest import Digest
from lamina.snapshot.store import LayerStore
from lamina.snapshot.view import TooManyLinks, View

Make = Callable[[Path], None]


@pytest.fixture
def stack(tmp_path: Path) -> Callable[..., View]:
    store = LayerStore(str(tmp_path / "store"))

    def layer(make: Make) -> Digest:
        with store.work() as work:
            make(Path(work.diff))
            return store.publish(work, read_diff(work.diff).manifest)

    return lambda *makes: View(store, [layer(make) for make in makes])


def put(files: dict[str, str]) -> Make:
    """Files with content; "-> target" makes a symlink, a name ending in / a directory."""

    def make(top: Path) -> None:
        for name, text in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            elif text.startswith("-> "):
                path.symlink_to(text[3:])
            else:
                path.write_text(text)

    return make


def read(view: View, path: bytes) -> str:
    with os.fdopen(view.open(path)) as file:
        return file.read()


def test_is_a_tree(stack: Callable[..., View]) -> None:
    """A view is what rooms above read files through."""
    tree: Tree = stack()
    assert list(tree.walk(b"")) == []
    assert tree.lookup(b"x") is None
    root = tree.lookup(b"")
    assert root is not None
    assert (root.kind, root.mode) == (Kind.DIRECTORY, 0o755)


def test_higher_layers_win(stack: Callable[..., View]) -> None:
    """The highest layer that has a path shows it; directories are merged."""
    view = stack(put({"d/a": "1", "d/b": "1"}), put({"d/b": "2", "d/c": "2"}))
    assert view.names(b"d") == [b"a", b"b", b"c"]
    assert [read(view, b"d/" + name) for name in view.names(b"d")] == ["1", "2", "2"]
    assert [entry.path for entry in view.children(b"d")] == [b"d/a", b"d/b", b"d/c"]


def test_walk_is_depth_first_and_sorted(stack: Callable[..., View]) -> None:
    """A directory is followed by what it holds, names in order of their bytes."""
    view = stack(put({"b/z": "", "b.x": "", "a/c/d": ""}), put({"b/a": ""}))
    assert [entry.path for entry in view.walk(b"")] == [
        b"a", b"a/c", b"a/c/d", b"b", b"b/a", b"b/z", b"b.x",
    ]  # fmt: skip
    assert [entry.path for entry in view.walk(b"a")] == [b"a/c", b"a/c/d"]


def test_links_are_followed_as_if_chrooted(stack: Callable[..., View]) -> None:
    """Links of one layer lead to files of another, never out of the tree."""
    view = stack(
        put({"usr/lib/x": "x", "etc/passwd": "users"}),
        put({"lib": "-> usr/lib", "deep/up": "-> ../../../../etc", "abs": "-> /lib/x"}),
    )
    assert view.resolve(b"lib/x") == b"usr/lib/x"
    assert read(view, b"abs") == "x"
    assert read(view, b"deep/up/passwd") == "users"
    entry = view.lookup(b"deep/up/../usr/lib")
    assert entry is not None
    assert (entry.path, entry.kind) == (b"usr/lib", Kind.DIRECTORY)
    link = view.lookup(b"abs", follow=False)
    assert link is not None
    assert (link.kind, link.link) == (Kind.SYMLINK, b"/lib/x")
    assert view.resolve(b"lib/none/more") == b"usr/lib/none/more"
    assert view.lookup(b"lib/none") is None


def test_circles_are_errors(stack: Callable[..., View]) -> None:
    """A circle of links ends with a clear error."""
    view = stack(put({"a": "-> b", "b": "-> a"}))
    with pytest.raises(TooManyLinks):
        view.lookup(b"a/x")


def test_a_file_hides_a_directory(stack: Callable[..., View]) -> None:
    """Below a file that stands where a directory was there is nothing, even under a new one."""
    view = stack(put({"d/old": ""}), put({"d": "file"}), put({"d/new": ""}))
    assert view.names(b"d") == [b"new"]
    assert view.lookup(b"d/old") is None


@pytest.mark.root
def test_whiteouts_and_opaque_directories(stack: Callable[..., View]) -> None:
    """What was deleted is not seen, in directories of any depth, and neither are the markers."""

    def delete(top: Path) -> None:
        put({"opaque/new": ""})(top)
        set_opaque(os.fsencode(top / "opaque"))
        os.mknod(top / "gone", stat.S_IFCHR, 0)
        os.mknod(top / "dir", stat.S_IFCHR, 0)

    view = stack(put({"gone": "", "dir/deep/x": "", "opaque/old/x": "", "kept": ""}), delete)
    assert [e.path for e in view.walk(b"")] == [b"kept", b"opaque", b"opaque/new"]
    for path in (b"gone", b"dir/deep/x", b"opaque/old", b"opaque/old/x"):
        assert view.lookup(path) is None
        with pytest.raises(HostError, match="not in the tree"):
            view.host_path(path)
    assert stack(delete, put({"dir/again": ""})).names(b"dir") == [b"again"]


def test_hard_links_are_seen_in_a_walk(stack: Callable[..., View]) -> None:
    """The second name of a file in a walk is a link to the first; alone it is a file."""

    def make(top: Path) -> None:
        put({"d/one": "x", "e/": ""})(top)
        os.link(top / "d/one", top / "e/two")

    view = stack(make)
    linked = {entry.path: entry for entry in view.walk(b"")}[b"e/two"]
    assert (linked.kind, linked.link) == (Kind.HARDLINK, b"d/one")
    assert [entry.kind for entry in view.walk(b"e")] == [Kind.FILE]
    assert view.digest(b"e/two") == view.digest(b"d/one")


def test_digests_come_from_manifests(stack: Callable[..., View]) -> None:
    """Files get their digests; everything else is left as it is."""
    view = stack(put({"a": "x", "d/": "", "l": "-> a"}))
    found = view.digests(view.walk(b""))
    assert [bool(entry.digest) for entry in found] == [True, False, False]
    os.unlink(view.host_path(b"a"))  # not read again
    Path(os.fsdecode(view.host_path(b"d")), "../a").write_text("y")
    assert view.digests(found) == found


def test_root_of_a_layer_that_says_nothing(stack: Callable[..., View]) -> None:
    """The root is that of the highest layer that says something of it."""
    view = stack(lambda top: top.chmod(0o1777), put({"a": ""}))
    root = view.lookup(b"/")
    assert root is not None
    assert root.mode == 0o1777


def test_missing_layer_is_an_error(tmp_path: Path) -> None:
    """A layer that was removed is never taken for an empty one."""
    store = LayerStore(str(tmp_path / "store"))
    with store.work() as work:
        layer = store.publish(work, read_diff(work.diff).manifest)
    store.remove(layer)
    with pytest.raises(HostError, match="gone"):
        View(store, [layer]).lookup(b"x")
