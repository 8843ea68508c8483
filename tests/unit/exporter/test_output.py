from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from lamina.errors import HostError, UsageError
from lamina.exporter.output import open_output


def test_a_file_appears_complete(tmp_path: Path) -> None:
    """Until then the old one is there, and folders that are missing are made."""
    dest = tmp_path / "new" / "file"
    with open_output(str(dest), None) as out:
        out.write(b"one")
        assert not dest.exists()
    assert dest.read_bytes() == b"one"
    with open_output(str(dest), None) as out:
        out.write(b"two")
        assert dest.read_bytes() == b"one"
    assert dest.read_bytes() == b"two"
    assert os.listdir(dest.parent) == ["file"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """And no trace of the new one."""
    dest = tmp_path / "file"
    dest.write_bytes(b"old")

    def fail() -> None:
        with open_output(str(dest), None) as out:
            out.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert dest.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_umask_is_honoured(tmp_path: Path) -> None:
    """An output is a file like any other that the user makes."""
    old = os.umask(0o027)
    try:
        with open_output(str(tmp_path / "file"), None) as out:
            out.write(b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_symlink_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    """As any program that opens a file by its name does."""
    (tmp_path / "link").symlink_to("target")
    with open_output(str(tmp_path / "link"), None) as out:
        out.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"


def test_a_fifo_is_written_into(tmp_path: Path) -> None:
    """Not replaced."""
    fifo, source = tmp_path / "fifo", tmp_path / "source"
    os.mkfifo(fifo)
    source.write_bytes(b"b" * 200_000)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    with open_output(str(fifo), None) as out, source.open("rb") as file:
        out.write(b"a")
        out.copy(file.fileno(), 200_000)
    reader.join(10)
    assert received == [b"a" + b"b" * 200_000]
    assert fifo.is_fifo()


def test_devices_are_written_into() -> None:
    """Somebody who measures writes to /dev/null."""
    with open_output("/dev/null", None) as out:
        out.write(b"x")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("size", [0, 1, 100_000, 3 << 20])
def test_copies_append(tmp_path: Path, size: int) -> None:
    """To a file and to a stream without a descriptor, from where the source stands."""
    source = tmp_path / "source"
    data = os.urandom(size)
    source.write_bytes(b"skipped" + data + b"rest")
    stream = io.BytesIO()
    for dest, stdout in ((str(tmp_path / "out"), None), ("-", stream)):
        with open_output(dest, stdout) as out, source.open("rb", buffering=0) as file:
            file.seek(7)
            out.write(b"<")
            out.copy(file.fileno(), size)
            out.write(b">")
    assert (tmp_path / "out").read_bytes() == stream.getvalue() == b"<" + data + b">"


@pytest.mark.parametrize("name", ["out", "-"])
def test_a_source_that_is_too_short_is_an_error(tmp_path: Path, name: str) -> None:
    """No output with a hole in it."""
    (tmp_path / "source").write_bytes(b"short")
    dest = name if name == "-" else str(tmp_path / name)
    with (
        pytest.raises(HostError),
        (tmp_path / "source").open("rb") as file,
        open_output(dest, io.BytesIO()) as out,
    ):
        out.copy(file.fileno(), 6)
    assert not (tmp_path / "out").exists()


def test_a_terminal_is_spared() -> None:
    """Archives are not for reading."""

    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(UsageError, match="terminal"), open_output("-", Terminal()):
        pass


def test_a_closed_pipe_is_an_error() -> None:
    """Whoever read it went away."""
    read, write = os.pipe()
    os.close(read)
    with (
        os.fdopen(write, "wb") as stream,
        pytest.raises(HostError, match="nobody reads the output"),
        open_output("-", stream) as out,
    ):
        out.write(b"x")
