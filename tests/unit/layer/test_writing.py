"""Writing the files of a layer: small ones are made many at once."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.layer.entry import Entry, Kind
from lamina.layer.writing import DiffWriter

MODES = (0o644, 0o600, 0o755, 0o4755, 0o666, 0o400, 0o000)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[DiffWriter]:
    (tmp_path / "diff").mkdir()
    writer = DiffWriter(os.fsencode(tmp_path / "diff"))
    with contextlib.closing(writer):
        yield writer


def file(path: str, number: int, *, xattrs: tuple[tuple[bytes, bytes], ...] = ()) -> Entry:
    return Entry(
        path=path.encode(),
        kind=Kind.FILE,
        mode=MODES[number % len(MODES)],
        uid=os.getuid(),
        gid=os.getgid(),
        mtime_ns=1_000_000_000 * number + 7,
        xattrs=xattrs,
    )


@pytest.mark.parametrize("count", [3, 2000])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_files_are_as_their_entries_say(
    tmp_path: Path, writer: DiffWriter, count: int, umask: int
) -> None:
    """Content, mode and time: for few and for many, in many directories, whatever the umask is."""
    before = os.umask(umask)
    try:
        for number in range(count):
            folder = f"d{number // 7}"
            if number % 7 == 0:
                writer.make_directory(folder.encode())
            xattrs = ((b"user.note", b"x"),) if number % 50 == 2 else ()
            entry = file(f"{folder}/f{number}", number, xattrs=xattrs)
            writer.write_file(entry, b"%d\n" % number * (number % 3))
        writer.flush()
    finally:
        os.umask(before)
    for number in range(count):
        path = tmp_path / "diff" / f"d{number // 7}" / f"f{number}"
        status = path.stat()
        assert stat.S_IMODE(status.st_mode) == MODES[number % len(MODES)]
        assert status.st_mtime_ns == 1_000_000_000 * number + 7
        assert path.read_bytes() == b"%d\n" % number * (number % 3)
        assert os.listxattr(path) == (["user.note"] if number % 50 == 2 else [])


@pytest.mark.root
@pytest.mark.parametrize("mode", MODES)
def test_other_owners_are_set(tmp_path: Path, writer: DiffWriter, mode: int) -> None:
    """Whatever the mode is; setting the owner would take away the bits that come with a program."""
    entry = Entry(path=b"f", kind=Kind.FILE, mode=mode, uid=7, gid=8, mtime_ns=9)
    writer.write_file(entry, b"x")
    writer.flush()
    status = (tmp_path / "diff" / "f").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (7, 8, mode)


def test_what_concerns_a_file_finds_it_made(tmp_path: Path, writer: DiffWriter) -> None:
    """A link to it, its removal, and the time of the directory that it is in."""
    writer.make_directory(b"d")
    writer.write_file(file("d/one", 0), b"1")
    writer.link(b"d/one", b"d/two")
    writer.write_file(file("d/three", 0), b"3")
    writer.remove(b"d/three", is_directory=False)
    writer.write_file(file("d/three", 0), b"again")
    writer.complete_directory(Entry(path=b"d", kind=Kind.DIRECTORY, mtime_ns=5), opaque=False)
    folder = tmp_path / "diff" / "d"
    assert folder.stat().st_mtime_ns == 5
    folder.chmod(0o755)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "one": "1",
        "two": "1",
        "three": "again",
    }


@pytest.mark.parametrize("count", [1, 500])
def test_a_file_that_cannot_be_made_is_an_error(writer: DiffWriter, count: int) -> None:
    """Whichever thread meets it; and no descriptor is left open."""
    before = len(os.listdir("/proc/self/fd"))
    for number in range(count):
        writer.write_file(file(f"f{number}", 0), b"x")
    writer.write_file(file("n" * 300, 0), b"x")
    with pytest.raises(OSError, match="File name too long"):
        writer.flush()
    writer.flush()
    assert len(os.listdir("/proc/self/fd")) == before
