"""The directories of WORKDIR."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamina.errors import UserError
from lamina.graph.ops import MakeDirOp
from lamina.layer.entry import Entry
from lamina.ops.copying.makedir import make_directory
from tests.support.copying import NOW, Copying, by_path, lay_out


def made(copying: Copying, path: str, tmp_path: Path, **options: object) -> dict[str, Entry]:
    diff = tmp_path / f"made{len(os.listdir(tmp_path))}"
    diff.mkdir()
    op = MakeDirOp(path=path, **options)  # type: ignore[arg-type]
    return by_path(make_directory(op, copying.tree(copying.parent), str(diff), now_ns=NOW))


def test_missing_directories_are_made(copying: Copying, tmp_path: Path) -> None:
    """All of them have the mode and the owner."""
    lay_out(copying.parent, {"etc/passwd": "user:x:1000:1000::/:\n"})
    entries = made(copying, "/a/b", tmp_path, owner="user", epoch=5)
    assert {(e.path, e.mode, e.uid, e.gid, e.mtime_ns) for e in entries.values()} == {
        (b"a", 0o755, 1000, 1000, 5_000_000_000),
        (b"a/b", 0o755, 1000, 1000, 5_000_000_000),
    }


def test_directories_above_stay_as_they_are(copying: Copying, tmp_path: Path) -> None:
    """A directory that is in the layer only because something was made in it looks as before."""
    lay_out(copying.parent, {"there/deep": None})
    (copying.parent / "there").chmod(0o755)
    (copying.parent / "there" / "deep").chmod(0o711)
    made(copying, "/there/deep/new", tmp_path)
    diff = next(tmp_path.glob("made*"))
    modes = {name: (diff / name).stat().st_mode & 0o777 for name in ("there", "there/deep")}
    assert modes == {"there": 0o755, "there/deep": 0o711}


def test_an_existing_directory_makes_no_layer(copying: Copying, tmp_path: Path) -> None:
    """Its owner and mode stay what they are."""
    lay_out(copying.parent, {"there": None, "link": "-> there"})
    assert made(copying, "/there", tmp_path, owner="5", mode=0o700) == {}
    assert made(copying, "/link", tmp_path) == {}
    assert made(copying, "/", tmp_path) == {}


def test_links_are_followed_in_the_parent(copying: Copying, tmp_path: Path) -> None:
    """The directory is made where the link leads."""
    lay_out(copying.parent, {"link": "-> /real/deep"})
    assert set(made(copying, "/link/x", tmp_path)) == {"real", "real/deep", "real/deep/x"}


def test_a_file_in_the_way(copying: Copying, tmp_path: Path) -> None:
    """A file is no directory."""
    lay_out(copying.parent, {"file": ""})
    with pytest.raises(UserError, match="mkdir /file: not a directory"):
        made(copying, "/file/x", tmp_path)
