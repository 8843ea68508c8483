"""Compression of layers: none, gzip and zstd.

The same bytes in give the same bytes out, whatever the sizes of the writes and the number of
threads: gzip is cut into blocks of 1 MiB, each compressed by itself with the 32 KiB before it as a
dictionary (as pigz does), into one gzip member without a name or a time; zstd always runs in its
own multi-threaded mode, whose output does not depend on the number of its threads.

    blocks     |  1 MiB  |  1 MiB  |  1 MiB  | …
    compressed    \\ 32 KiB↗ \\ 32 KiB↗          one deflate stream, byte-aligned between blocks

Rejected: `isal.igzip_threaded` (cuts where the caller's writes end, so the bytes depend on them);
a gzip member a block (allowed by RFC 1952, but some readers stop after the first).
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, assert_never

from lamina.content.errors import MalformedImage
from lamina.fs.memory import keep_freed_memory
from lamina.oci import mediatype

if TYPE_CHECKING:
    from concurrent.futures import Future

_BLOCK = 1 << 20
_WINDOW = 1 << 15


class Compression(Enum):
    """How the bytes of a layer are stored."""

    UNCOMPRESSED = "uncompressed"
    GZIP = "gzip"
    ZSTD = "zstd"

    def media_type(self, *, docker: bool = False) -> str:
        """The media type of a layer, the OCI's or Docker's (which knows zstd since version 23)."""
        oci_type, docker_type = _MEDIA_TYPES[self]
        return docker_type if docker else oci_type


_MEDIA_TYPES = {
    Compression.UNCOMPRESSED: (mediatype.LAYER, mediatype.DOCKER_LAYER),
    Compression.GZIP: (mediatype.LAYER_GZIP, mediatype.DOCKER_LAYER_GZIP),
    Compression.ZSTD: (mediatype.LAYER_ZSTD, mediatype.DOCKER_LAYER_ZSTD),
}
_BY_MEDIA_TYPE = {name: kind for kind, names in _MEDIA_TYPES.items() for name in names}


def compression_of(media_type: str) -> Compression:
    """The compression that a layer's media type names. Raises MalformedImage for another type."""
    kind = _BY_MEDIA_TYPE.get(media_type)
    if kind is not None:
        return kind
    if media_type in mediatype.FOREIGN_LAYERS:
        raise MalformedImage(
            "the image has a foreign layer, which must be fetched from somewhere else",
            hint="such layers (of Windows images, mostly) are not supported",
        )
    raise MalformedImage(f"{media_type[:200]!r} is not the media type of a layer")


class Writer(Protocol):
    """What a compressor writes to."""

    def write(self, data: bytes, /) -> object: ...


class Compressor(Protocol):
    """A writer that must be closed, or used in a `with` statement. It leaves its output open.

    Leaving the `with` statement by an exception finishes nothing: what came out is incomplete.
    """

    def write(self, data: bytes | bytearray | memoryview) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def compressor(
    kind: Compression, out: Writer, *, level: int | None = None, threads: int = 2
) -> Compressor:
    """A compressor that writes to `out`.

    Levels: gzip 0 to 9 (up to 3 by ISA-L, about ten times as fast as zlib; default 2), zstd 1 to 22
    (default 3); those outside are brought inside.
    """
    if kind is not Compression.UNCOMPRESSED:
        keep_freed_memory()
    match kind:
        case Compression.UNCOMPRESSED:
            return _Plain(out)
        case Compression.GZIP:
            return _Gzip(out, level=min(max(2 if level is None else level, 0), 9), threads=threads)
        case Compression.ZSTD:
            return _Zstd(out, level=min(max(3 if level is None else level, 1), 22), threads=threads)
        case _:
            assert_never(kind)


class _Closing:
    """Closes at the end of a `with` statement, unless an exception ended that."""

    _closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._abandon()

    def close(self) -> None:
        """Writes what is still to be written. A second time it does nothing."""
        if not self._closed:
            self._closed = True
            self._finish()

    def _finish(self) -> None:
        raise NotImplementedError

    def _abandon(self) -> None:
        """Ends the threads, if there are any left."""


class _Plain(_Closing):
    def __init__(self, out: Writer) -> None:
        self._out = out

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._out.write(data if isinstance(data, bytes) else bytes(data))
        return len(data)

    def _finish(self) -> None:
        pass


class _Gzip(_Closing):
    """One gzip member (RFC 1952), its blocks compressed by a small pool.

    One more thread writes what came out, since whoever takes it hashes it, too.
    """

    def __init__(self, out: Writer, *, level: int, threads: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._out = out
        self._level = level
        self._waiting = bytearray()
        self._window = b""
        self._length = 0
        self._crc = 0
        self._crc32 = _fastest_crc32()
        self._limit = threads + 1
        self._pending: deque[Future[object]] = deque()
        self._pool = ThreadPoolExecutor(threads, "gzip")
        self._writing = ThreadPoolExecutor(1, "gzip-out")
        # RFC 1952, 2.3: deflate, no flags, no time, no extra flags, unknown operating system.
        out.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._crc = self._crc32(data, self._crc)
        self._length += len(data)
        view = memoryview(data)
        while view:
            if not self._waiting and len(view) >= _BLOCK:
                self._send(bytes(view[:_BLOCK]))
                view = view[_BLOCK:]
                continue
            room = _BLOCK - len(self._waiting)
            self._waiting += view[:room]
            view = view[room:]
            if len(self._waiting) == _BLOCK:
                self._send_waiting()
        return len(data)

    def _finish(self) -> None:
        if self._waiting:
            self._send_waiting()
        while self._pending:
            self._pending.popleft().result()
        self._pool.shutdown()
        self._writing.shutdown()
        # An empty last block (RFC 1951, 3.2.6: final, fixed codes, end of block), then the trailer.
        self._out.write(b"\x03\0" + struct.pack("<II", self._crc, self._length & 0xFFFFFFFF))

    def _send_waiting(self) -> None:
        block, self._waiting = self._waiting, bytearray()
        self._send(block)

    def _send(self, block: bytes | bytearray) -> None:
        compressed = self._pool.submit(_deflate, block, self._window, self._level)
        self._pending.append(self._writing.submit(self._write, compressed))
        self._window = bytes(block[-_WINDOW:])
        while len(self._pending) > self._limit:
            self._pending.popleft().result()

    def _write(self, compressed: Future[bytes]) -> None:
        self._out.write(compressed.result())

    def _abandon(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._writing.shutdown(cancel_futures=True)


class _Crc32(Protocol):
    def __call__(self, data: bytes | bytearray | memoryview, value: int, /) -> int: ...


def _fastest_crc32() -> _Crc32:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.crc32
    crc32: _Crc32 = isal_zlib.crc32
    return crc32


def _deflate(block: bytes | bytearray, window: bytes, level: int) -> bytes:
    """Raw deflate that ends on a byte, so that the next block can follow it."""
    if level <= 3:
        try:
            from isal import isal_zlib
        except ImportError:
            pass
        else:
            if window:
                fast = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15, zdict=window)
            else:
                fast = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
            result: bytes = fast.compress(block) + fast.flush(isal_zlib.Z_SYNC_FLUSH)
            return result
    if window:
        thorough = zlib.compressobj(level, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, window)
    else:
        thorough = zlib.compressobj(level, zlib.DEFLATED, -15)
    return thorough.compress(block) + thorough.flush(zlib.Z_SYNC_FLUSH)


def zstd_module() -> Any:  # noqa: ANN401 - one module or the other
    """The standard library's module where there is one (Python 3.14), else its backport."""
    import importlib
    import sys

    return importlib.import_module(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )


class _Zstd(_Closing):
    def __init__(self, out: Writer, *, level: int, threads: int) -> None:
        zstd = zstd_module()
        parameter = zstd.CompressionParameter
        self._out = out
        self._compressor = zstd.ZstdCompressor(
            options={parameter.compression_level: level, parameter.nb_workers: max(threads, 1)}
        )

    def write(self, data: bytes | bytearray | memoryview) -> int:
        if compressed := self._compressor.compress(data):
            self._out.write(compressed)
        return len(data)

    def _finish(self) -> None:
        self._out.write(self._compressor.flush())
