"""What `ADD` takes for an archive: a tar, plain or compressed, whatever its name says.

The compression is told by the first bytes (RFC 1952, RFC 8878, the .bz2 and .xz formats); a file
is an archive if a valid tar header comes out, as BuildKit decides it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

from lamina.errors import HostError
from lamina.layer.reader import MalformedTar, Source, TarReader
from lamina.layer.unpack import MalformedArchive

_GZIP: Final = b"\x1f\x8b\x08"
_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\0"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_HEAD: Final = 8


def is_archive(path: str | bytes) -> bool:
    """Whether `path` is a regular file that holds a tar with at least one member.

    Raises HostError where it cannot be read.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as file, decompressed(file) as plain:
            return TarReader(plain).next() is not None
    except MalformedTar:
        return False
    except OSError as error:
        raise HostError(f"{os.fsdecode(path)} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def open_archive(path: str | bytes) -> Iterator[Source]:
    """The plain tar in the archive `path`. What is broken in it raises MalformedArchive."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise HostError(f"{os.fsdecode(path)} cannot be read: {error.strerror}") from error
    with file, decompressed(file) as plain:
        yield plain


@contextlib.contextmanager
def decompressed(file: BinaryIO) -> Iterator[Source]:
    """What `file` (which can seek) holds, without its compression if it has one."""
    head = file.read(_HEAD)
    file.seek(0)
    found = _decompressor(head, file)
    if found is None:
        yield file
        return
    plain, errors = found
    with plain:
        yield _Guarded(plain, errors)


class _Guarded:
    """Turns the errors of a decompressor, which are of many kinds, into MalformedArchive."""

    def __init__(self, plain: BinaryIO, errors: tuple[type[Exception], ...]) -> None:
        self._plain = plain
        self._errors: tuple[type[Exception], ...] = (*errors, OSError, EOFError, ValueError)

    def read(self, size: int, /) -> bytes:
        try:
            return self._plain.read(size)
        except self._errors as error:
            raise MalformedArchive(f"the archive cannot be decompressed: {error}") from error


def _decompressor(
    head: bytes, file: BinaryIO
) -> tuple[BinaryIO, tuple[type[Exception], ...]] | None:
    """A decompressor and its errors. The codecs are imported only where they are needed."""
    if head.startswith(_GZIP):
        from isal import igzip, isal_zlib

        plain = igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]
        return cast("BinaryIO", plain), (cast("type[Exception]", isal_zlib.error),)
    if head.startswith(_BZIP2):
        import bz2

        return cast("BinaryIO", bz2.BZ2File(file)), ()
    if head.startswith(_XZ):
        import lzma

        return cast("BinaryIO", lzma.LZMAFile(file)), (lzma.LZMAError,)
    if head.startswith(_ZSTD) or _is_skippable(head):
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        return cast("BinaryIO", zstd.ZstdFile(file)), (zstd.ZstdError,)
    return None


def _is_skippable(head: bytes) -> bool:
    """A zstd frame that holds no data (RFC 8878, 3.1.2)."""
    return len(head) == _HEAD and int.from_bytes(head[:4], "little") & ~0xF == 0x184D2A50
