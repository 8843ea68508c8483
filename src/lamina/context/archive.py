"""Telling archives from other files by what is in them, and reading them uncompressed.

Compressed with gzip, bzip2, xz or zstd, or not at all; whatever the name of the file. Something is
an archive if its first member can be read: an empty tar is none, nor is a compressed file of
another kind.
"""

from __future__ import annotations

import io
from typing import Final

from lamina.content.compression import Compression
from lamina.content.decompression import decompressing_reader
from lamina.content.decompression import sniff as sniff_compression
from lamina.content.errors import MalformedImage
from lamina.fs.streams import Peeked, Source
from lamina.layer.reader import MalformedTar, TarReader
from lamina.layer.unpack import MalformedArchive

_MAGIC: Final = 6
# Enough for the long names and attributes that may stand before the first member.
_FIRST_MEMBER: Final = 1 << 20
_PIECE: Final = 1 << 16


def open_archive(stream: Source) -> Source | None:
    """A reader of the tar in `stream`, uncompressed; None if it is no archive.

    At most the first mebibyte is looked at. What was looked at is lost for None: give a `Peeked`,
    of which nothing is read then. Reading raises MalformedArchive for damaged compressed data.
    """
    peeked = stream if isinstance(stream, Peeked) else Peeked(stream)
    head = peeked.peek(_MAGIC)
    if not is_compressed(head):
        return peeked if _is_tar(peeked.peek(_FIRST_MEMBER)) else None
    start = _first_bytes(peeked.peek(_FIRST_MEMBER))
    return _decompressed(peeked, head) if _is_tar(start) else None


def is_compressed(head: bytes) -> bool:
    """By the first six bytes."""
    return sniff_compression(head) is not None or head.startswith((b"BZh", b"\xfd7zXZ\0"))


def _first_bytes(data: bytes) -> bytes:
    """What the start of a compressed file decompresses to, as far as it goes."""
    source = _decompressed(Peeked(io.BytesIO(data)), data[:_MAGIC])
    start = b""
    try:
        while len(start) < _FIRST_MEMBER and (piece := source.read(_PIECE)):
            start += piece
    except MalformedArchive:  # cut off
        pass
    return start


def _is_tar(start: bytes) -> bool:
    try:
        return TarReader(io.BytesIO(start)).next() is not None
    except MalformedTar:
        return False


class _Checked:
    """Turns the errors of a decompressor into ours."""

    def __init__(self, plain: Source, broken: tuple[type[Exception], ...]) -> None:
        self._plain = plain
        self._broken = broken

    def read(self, size: int, /) -> bytes:
        try:
            return self._plain.read(size)
        except self._broken as error:
            raise MalformedArchive(f"the compressed archive is damaged: {error}") from error


def _decompressed(stream: Peeked, head: bytes) -> Source:
    if head.startswith(b"BZh"):
        import bz2

        return _Checked(bz2.BZ2File(_file(stream)), (OSError, EOFError))
    if head.startswith(b"\xfd7zXZ\0"):
        import lzma

        return _Checked(lzma.LZMAFile(_file(stream)), (lzma.LZMAError, EOFError))
    kind = sniff_compression(head) or Compression.UNCOMPRESSED
    return _Checked(decompressing_reader(stream, kind), (MalformedImage,))


def _file(stream: Peeked) -> io.BufferedReader:
    return io.BufferedReader(_Raw(stream), _PIECE)


class _Raw(io.RawIOBase):
    def __init__(self, stream: Source) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
