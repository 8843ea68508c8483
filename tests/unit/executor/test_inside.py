"""Paths inside a root never lead out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.executor import inside


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A root beside a directory that must stay as it is."""
    (tmp_path / "outside").mkdir()
    tree = tmp_path / "root"
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    (tree / "abs").symlink_to("/usr/lib")
    (tree / "up").symlink_to("../../../../outside")
    (tree / "host").symlink_to(tmp_path / "outside")
    (tree / "gone").symlink_to("/var/run/x")
    (tree / "loop").symlink_to("loop")
    (tree / "file").write_text("content")
    descriptor = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", b""),
        (b"/usr/./lib/..", b"usr"),
        (b"/lib/new", b"usr/lib/new"),
        (b"abs/a/../b", b"usr/lib/b"),
        (b"/../../etc", b"etc"),
        (b"/up/x", b"outside/x"),
        (b"/gone", b"var/run/x"),
        (b"/no/such/../thing", b"no/thing"),
    ],
)
def test_resolve(root: int, path: bytes, expected: bytes) -> None:
    """Symlinks, absolute ones too, count from the root; what does not exist is kept as it is."""
    assert inside.resolve(root, path) == expected


def test_resolve_circle(root: int) -> None:
    with pytest.raises(OSError, match="Too many levels"):
        inside.resolve(root, b"/loop/x")


@pytest.mark.parametrize("path", [b"/up/a/b", b"/host/a/b", b"/gone/a", b"/abs/../../a"])
def test_mount_points_are_made_inside(root: int, tmp_path: Path, path: bytes) -> None:
    """Whatever the links say, nothing is made outside the root."""
    os.close(inside.mount_point(root, path, directory=True))
    assert not os.listdir(tmp_path / "outside")
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]


def test_mount_point_of_a_file(root: int, tmp_path: Path) -> None:
    os.close(inside.mount_point(root, b"/lib/a/b", directory=False))
    assert (tmp_path / "root/usr/lib/a/b").is_file()
    assert inside.missing(root, b"usr/lib/a/b/c") == [b"usr/lib/a/b/c"]


_NAMES = st.sampled_from(
    [b"", b".", b"..", b"usr", b"lib", b"abs", b"up", b"host", b"gone", b"new"]
)


@given(st.lists(_NAMES, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_resolve_gives_plain_names(root: int, names: list[bytes]) -> None:
    """The result has no empty name, `.` or `..`, and resolves to itself."""
    resolved = inside.resolve(root, b"/".join(names))
    assert not {b".", b".."} & set(resolved.split(b"/"))
    assert inside.resolve(root, resolved) == resolved


def test_read_file(root: int, tmp_path: Path) -> None:
    """Regular files alone are read, and never more than asked for."""
    os.mkfifo(tmp_path / "root/pipe")
    assert inside.read_file(root, b"file", 4) == b"cont"
    assert inside.read_file(root, b"pipe", 4) == b""
    assert inside.read_file(root, b"usr", 4) == b""
    assert inside.read_file(root, b"nothing", 4) == b""
