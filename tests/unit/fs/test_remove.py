"""Trees of any shape can be removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamina.errors import HostError
from lamina.fs.remove import remove_tree


def test_everything_goes(tmp_path: Path) -> None:
    """Forbidding modes, odd names, links and pipes are no obstacle; what links lead to stays."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    top = os.fsencode(tmp_path / "top")
    os.makedirs(top + b"/a/\xff\xfe/b")
    os.mkfifo(top + b"/a/\xff\xfe/pipe")
    os.symlink(os.fsencode(tmp_path / "kept"), top + b"/link")
    os.close(os.open(top + b"/a/\xff\xfe/b/file", os.O_CREAT))
    for name in (b"/a/\xff\xfe/b", b"/a/\xff\xfe", b"/a"):
        os.chmod(top + name, 0)
    remove_tree(top)
    assert os.listdir(tmp_path) == ["kept"]
    assert (tmp_path / "kept/file").exists()


def test_deep_trees(tmp_path: Path) -> None:
    """A tree deeper than any path can be, and than there are descriptors, goes too."""
    top = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("top", dir_fd=top)
    current = os.open("top", os.O_RDONLY, dir_fd=top)
    for _ in range(700):
        os.mkdir("deeper", dir_fd=current)
        os.close(os.open("file", os.O_CREAT, dir_fd=current))
        inner = os.open("deeper", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(current)
    os.close(top)
    remove_tree(str(tmp_path / "top"))
    assert os.listdir(tmp_path) == []


def test_files_and_nothing(tmp_path: Path) -> None:
    """A file goes as well, a link without what it leads to, and nothing is no error."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    remove_tree(str(tmp_path / "link"))
    assert (tmp_path / "file").exists()
    remove_tree(str(tmp_path / "file"))
    remove_tree(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []


def test_refusal_is_a_host_error() -> None:
    """What the kernel does not let us remove is said."""
    with pytest.raises(HostError, match="cannot be removed"):
        remove_tree("/proc/self/status")
