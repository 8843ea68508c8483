"""A stream or a URL as the build context."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.content.compression import zstd_module
from lamina.context.archive import open_archive
from lamina.context.tarcontext import ArchiveStream, Dockerfile, open_stream, recognize
from lamina.errors import UserError
from lamina.fs.streams import Peeked


def tar(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return stream.getvalue()


def zstd(data: bytes) -> bytes:
    packed = zstd_module().compress(data)
    assert isinstance(packed, bytes)
    return packed


PACKERS: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, bz2.compress, lzma.compress, zstd]


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(7 if size < 0 else min(size, 7))


@pytest.mark.parametrize("pack", PACKERS)
def test_an_archive_is_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """However it is compressed, and however slowly it comes."""
    for index, stream in enumerate((io.BytesIO, Trickle)):
        directory = tmp_path / str(index)
        directory.mkdir()
        assert open_stream(stream(pack(tar("Dockerfile", "src/a"))), str(directory)) is None
        assert (directory / "src/a").read_bytes() == b"abc"


@pytest.mark.parametrize("text", [b"", b"FROM scratch\n", b"# " + b"x" * 100_000])
def test_a_dockerfile_alone(tmp_path: Path, text: bytes) -> None:
    """What is no archive is a Dockerfile, and its context is empty."""
    assert open_stream(Trickle(text), str(tmp_path)) == Dockerfile(text)
    assert list(tmp_path.iterdir()) == []


def test_what_is_neither(tmp_path: Path) -> None:
    """Compressed data without a tar, and endless data, are the user's mistakes."""
    with pytest.raises(UserError, match="no tar is in it"):
        recognize(io.BytesIO(gzip.compress(b"text")))
    with pytest.raises(UserError, match="too large"):
        recognize(io.BytesIO(b"x" * (17 << 20)))


@pytest.mark.parametrize("pack", PACKERS)
def test_an_archive_that_is_cut_off_is_an_error(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """Half of a context is none."""
    data = pack(tar(*(f"file{index}" for index in range(2000))))
    with pytest.raises(UserError):
        open_stream(io.BytesIO(data[: len(data) // 2 + 100]), str(tmp_path))


def test_nothing_gets_out(tmp_path: Path) -> None:
    """Names with `..` are refused."""
    directory = tmp_path / "context"
    directory.mkdir()
    with pytest.raises(UserError):
        open_stream(io.BytesIO(tar("../escaped")), str(directory))
    assert [path.name for path in tmp_path.iterdir()] == ["context"]


def test_what_was_looked_at_is_not_lost() -> None:
    """A stream that is no archive can be read from its start."""
    peeked = Peeked(Trickle(b"FROM scratch"))
    assert peeked.peek(4) == b"FROM"
    assert open_archive(peeked) is None
    rest = b""
    while piece := peeked.read(5):
        rest += piece
    assert rest == b"FROM scratch"


def test_an_archive_is_given_from_its_start() -> None:
    """Sniffing takes nothing away."""
    found = recognize(io.BytesIO(tar("a")))
    assert isinstance(found, ArchiveStream)
    assert found.stream.read(1) == b"a"
