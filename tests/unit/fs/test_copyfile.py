"""Contents are copied exactly, by every way there is."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from lamina.fs import copyfile
from lamina.fs.copyfile import copy_content, hash_content

WAYS = ["clone", "in kernel", "sendfile", "by hand"]


@pytest.fixture(params=WAYS, autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the better ways away, one after the other."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, "no")

    number = WAYS.index(request.param)
    if number >= 1:
        monkeypatch.setattr(copyfile, "_clone", lambda *_: False)
    if number >= 2:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    if number >= 3:
        monkeypatch.setattr(os, "sendfile", refuse)


@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_001])
@pytest.mark.parametrize("hashed", [False, True])
def test_content_is_the_same(tmp_path: Path, size: int, hashed: bool) -> None:
    """Every byte arrives, and the hash is that of all of them."""
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    hasher = hashlib.sha256() if hashed else None
    with open(tmp_path / "source", "rb") as source, open(tmp_path / "target", "wb") as target:
        assert copy_content(source.fileno(), target.fileno(), hasher=hasher) == size
    assert (tmp_path / "target").read_bytes() == data
    if hasher is not None:
        assert hasher.digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("end", [b"", b"end"])
def test_holes_stay_holes(tmp_path: Path, hashed: bool, end: bytes) -> None:
    """A sparse file stays sparse, its holes count as zeros in the hash."""
    with open(tmp_path / "source", "wb") as file:
        file.write(b"start")
        file.seek(20 << 20)
        file.write(b"middle")
        file.truncate(40 << 20)
        if end:
            file.seek(0, os.SEEK_END)
            file.write(end)
    hasher = hashlib.sha256() if hashed else None
    with open(tmp_path / "source", "rb") as source, open(tmp_path / "target", "wb") as target:
        copy_content(source.fileno(), target.fileno(), hasher=hasher)
    data = (tmp_path / "source").read_bytes()
    assert (tmp_path / "target").read_bytes() == data
    assert os.stat(tmp_path / "target").st_blocks * 512 < 1 << 20
    if hasher is not None:
        assert hasher.digest() == hashlib.sha256(data).digest()
    check = hashlib.sha256()
    with open(tmp_path / "source", "rb") as file:
        assert hash_content(file.fileno(), len(data), check) == len(data)
    assert check.digest() == hashlib.sha256(data).digest()


def test_files_that_say_they_are_empty(tmp_path: Path) -> None:
    """Files of /proc have content although their size is 0."""
    with open("/proc/self/status", "rb") as source, open(tmp_path / "target", "wb") as target:
        assert copy_content(source.fileno(), target.fileno()) > 0
    assert (tmp_path / "target").read_bytes().startswith(b"Name:")
