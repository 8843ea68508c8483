"""Reading layers that may be compressed."""

from __future__ import annotations

import zlib
from typing import Any, Self, assert_never, cast

from lamina.content.compression import Compression, zstd_module
from lamina.content.errors import MalformedImage
from lamina.fs.streams import Peeked, Source


def sniff(head: bytes) -> Compression | None:
    """The compression of a stream by its first four bytes; None for another (bzip2, xz, none)."""
    if head.startswith(b"\x1f\x8b"):
        return Compression.GZIP
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return Compression.ZSTD  # the second: a skippable frame (RFC 8878, 3.1.2)
    return None


def decompressing_reader(stream: Source, kind: Compression | None = None) -> DecompressingReader:
    """A reader of the plain bytes. Without a `kind` the first bytes tell: gzip, zstd, or neither.

    Several gzip members or zstd frames in a row are one stream.
    """
    peeked = Peeked(stream)
    if kind is None:
        kind = sniff(peeked.peek(4)) or Compression.UNCOMPRESSED
    match kind:
        case Compression.UNCOMPRESSED:
            return DecompressingReader(peeked, broken=())
        case Compression.GZIP:
            plain, broken = _gunzip(peeked)
            return DecompressingReader(plain, broken=broken)
        case Compression.ZSTD:
            zstd = zstd_module()
            return DecompressingReader(zstd.ZstdFile(peeked), broken=(zstd.ZstdError, EOFError))
        case _:
            assert_never(kind)


class DecompressingReader:
    """Plain bytes. `read` raises MalformedImage where the compressed ones are damaged or cut."""

    def __init__(self, plain: Source, *, broken: tuple[type[Exception], ...]) -> None:
        self._plain = plain
        self._broken = broken

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, all that are left if it is negative; none only at the end."""
        try:
            return self._plain.read(size)
        except self._broken as error:
            raise MalformedImage(f"the compressed data is damaged: {error}") from error

    def close(self) -> None:
        """Frees the decompressor. The stream below stays open."""
        close = getattr(self._plain, "close", None)
        if self._broken and close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _gunzip(stream: Peeked) -> tuple[Source, tuple[type[Exception], ...]]:
    import gzip

    broken: tuple[type[Exception], ...] = (gzip.BadGzipFile, EOFError, zlib.error)
    file: Any = gzip.GzipFile
    try:
        from isal import igzip, isal_zlib
    except ImportError:
        pass
    else:
        file = igzip.IGzipFile
        broken = (*broken, cast("type[Exception]", isal_zlib.IsalError))
    plain: Source = file(fileobj=stream, mode="rb")
    return plain, broken
