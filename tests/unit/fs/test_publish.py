"""Files and directories appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamina.fs import publish
from lamina.fs.publish import publish_directory, publish_file, publishing


@pytest.fixture(params=["tmpfile", "named"], autouse=True)
def _kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time on a file system that has no files without names."""
    if request.param == "named":
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        monkeypatch.setattr(
            publish, "_open", lambda _, temporary: (os.open(temporary, flags, 0o600), True)
        )


@pytest.mark.parametrize("durable", [False, True])
def test_file_replaces(tmp_path: Path, durable: bool) -> None:
    """The new content stands under the name, with its mode, and nothing else is left."""
    path = tmp_path / "file"
    path.write_text("old")
    publish_file(str(path), b"new", mode=0o640, durable=durable)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """An exception while writing changes nothing and leaves no litter."""
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with publishing(str(path)) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_missing_directory_is_an_error(tmp_path: Path) -> None:
    """The directory is not made on the way."""
    with pytest.raises(FileNotFoundError):
        publish_file(str(tmp_path / "none/file"), b"")


def test_first_directory_wins(tmp_path: Path) -> None:
    """A directory that is there stays, and the caller is told."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    final = str(tmp_path / "final")
    assert publish_directory(str(tmp_path / "one"), final)
    assert not publish_directory(str(tmp_path / "two"), final)
    assert (tmp_path / "final/who").read_text() == "one"
    assert (tmp_path / "two").exists()
