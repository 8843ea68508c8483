"""Paths inside a root that nothing leaves, by the kernel's way and by our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.fs import paths
from lamina.fs.paths import open_beneath, resolve_in_root
from lamina.fs.syscalls import open_in


@pytest.fixture(params=["openat2", "walk"])
def root(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    """A root with traps in it; the second time without openat2(2)."""
    if request.param == "walk":
        monkeypatch.setattr(paths, "_openat2", lambda *_: None)
    (tmp_path / "secret").write_text("outside")
    top = tmp_path / "root"
    (top / "dir/inner").mkdir(parents=True)
    (top / "dir/file").write_text("inside")
    (top / "secret").write_text("chrooted")
    for name, target in {
        "absolute": "/dir/file",
        "up": "../../../../secret",
        "dir/up": "../../..",
        "chain": "dir/up/absolute",
        "loop": "loop",
        "dangling": "nothing/here",
        "todir": "dir/inner",
        "dir/inner/back": "..",
    }.items():
        (top / name).symlink_to(target)
    descriptor = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def content(descriptor: int) -> str:
    with os.fdopen(descriptor) as file:
        return file.read()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"dir/file", "inside"),
        (b"/dir/file", "inside"),
        (b"../dir/./file", "inside"),
        (b"absolute", "inside"),
        (b"up", "chrooted"),
        (b"dir/up/secret", "chrooted"),
        (b"chain", "inside"),
        (b"todir/back/file", "inside"),
        (b"../../../secret", "chrooted"),
    ],
)
def test_links_are_followed_inside(root: int, path: bytes, text: str) -> None:
    """Absolute links start at the root, and `..` stays there."""
    assert content(open_in(root, path, os.O_RDONLY)) == text


@pytest.mark.parametrize("path", [b"loop", b"dangling", b"dir/file/x", b"nothing"])
def test_what_cannot_be_opened(root: int, path: bytes) -> None:
    """Circles and missing files are errors of the system."""
    with pytest.raises(OSError):
        open_in(root, path, os.O_RDONLY)


@pytest.mark.parametrize("path", [b"absolute", b"todir/back", b"../secret", b"dir/../../x", b"/x"])
def test_beneath_follows_nothing(root: int, path: bytes) -> None:
    """`open_beneath` refuses every link and everything that leads out."""
    with pytest.raises(OSError):
        open_beneath(root, path)


def test_beneath_opens_what_is_there(root: int) -> None:
    """Plain names work, the root itself too."""
    assert content(open_beneath(root, b"dir/file")) == "inside"
    os.close(open_beneath(root, b"", os.O_PATH))


@pytest.mark.parametrize(
    ("path", "real"),
    [
        (b"absolute", b"dir/file"),
        (b"up", b"secret"),
        (b"todir/back/file", b"dir/file"),
        (b"dangling/more", b"nothing/here/more"),
        (b"dir/file/below", b"dir/file/below"),
        (b"/", b""),
        (b"dir/up/dir", b"dir"),
    ],
)
def test_resolving(tmp_path: Path, root: int, path: bytes, real: bytes) -> None:
    """The real path has no links in it; what does not exist is kept."""
    assert resolve_in_root(str(tmp_path / "root"), path) == real


def test_resolving_a_circle(tmp_path: Path, root: int) -> None:
    """A circle of links is an error."""
    with pytest.raises(OSError):
        resolve_in_root(str(tmp_path / "root"), b"loop/x")
