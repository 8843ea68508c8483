"""Reading layers that may be compressed."""

from __future__ import annotations

import zlib
from types import TracebackType
from typing import Any, Protocol, Self, assert_never, cast

from lamina.content.compression import Compression, zstd_module
from lamina.content.errors import MalformedImage


class Stream(Protocol):
    """What is read from: `read(n)` gives up to n bytes, none only at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


def sniff(head: bytes) -> Compression | None:
    """The compression of a stream by its first four bytes; None for another (bzip2, xz, none)."""
    if head.startswith(b"\x1f\x8b"):
        return Compression.GZIP
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return Compression.ZSTD  # the second: a skippable frame (RFC 8878, 3.1.2)
    return None


def decompressing_reader(stream: Stream, kind: Compression | None = None) -> DecompressingReader:
    """A reader of the plain bytes. Without a `kind` the first bytes tell: gzip, zstd, or neither.

    Several gzip members or zstd frames in a row are one stream.
    """
    head = b""
    if kind is None:
        head = _read_head(stream)
        kind = sniff(head) or Compression.UNCOMPRESSED
    stream = _Prefixed(head, stream)
    match kind:
        case Compression.UNCOMPRESSED:
            return DecompressingReader(stream, broken=())
        case Compression.GZIP:
            plain, broken = _gunzip(stream)
            return DecompressingReader(plain, broken=broken)
        case Compression.ZSTD:
            zstd = zstd_module()
            return DecompressingReader(zstd.ZstdFile(stream), broken=(zstd.ZstdError, EOFError))
        case _:
            assert_never(kind)


class DecompressingReader:
    """Plain bytes. `read` raises MalformedImage where the compressed ones are damaged or cut."""

    def __init__(self, plain: Stream, *, broken: tuple[type[Exception], ...]) -> None:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Prefixed:
    """A stream whose first bytes were read already, as the decompressors want to see it."""

    def __init__(self, head: bytes, stream: Stream) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._stream.read(size)
        if size < 0:
            head, self._head = self._head, b""
            return head + self._stream.read()
        head, self._head = self._head[:size], self._head[size:]
        return head

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _read_head(stream: Stream) -> bytes:
    head = b""
    while len(head) < 4 and (more := stream.read(4 - len(head))):
        head += more
    return head


def _gunzip(stream: Stream) -> tuple[Stream, tuple[type[Exception], ...]]:
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
    plain: Stream = file(fileobj=stream, mode="rb")
    return plain, broken
