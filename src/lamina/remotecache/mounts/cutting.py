"""Where contents are cut, and what identifies one.

    large file   | FastCDC chunk | FastCDC chunk | …       identity: of the chunks' digests
    small files  | file file file | file file | …          identity: of the bytes

The sizes are part of the format: with others, the same bytes would have another identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

SMALL: Final = 128 << 10
"""Up to so many bytes a file is bundled with others."""

BUNDLE: Final = 256 << 10
"""The size of a bundle in bytes, on average; it is at most `LARGEST_BUNDLE` and one small file."""

LARGEST_BUNDLE: Final = 1 << 20
LARGEST_CHUNK: Final = LARGEST_BUNDLE + SMALL

PACK: Final = 16 << 20
"""The size of a pack in bytes, on average; it is at most `LARGEST_PACK` and one chunk."""

LARGEST_PACK: Final = 48 << 20

_CHUNK: Final = 128 << 10
_SMALLEST_CHUNK: Final = 32 << 10
_LARGEST_CUT: Final = 512 << 10


class Stream(Protocol):
    """A file to be cut."""

    def readinto(self, buffer: memoryview, /) -> int: ...


def cutter() -> FastCDC:
    """What cuts large files; good for any number of them, in one thread."""
    from pyfastcdc import FastCDC

    return FastCDC(avg_size=_CHUNK, min_size=_SMALLEST_CHUNK, max_size=_LARGEST_CUT)


def cut(cdc: FastCDC, stream: Stream) -> Iterator[bytes]:
    """The chunks of a large file, in order."""
    for chunk in cdc.cut_stream(stream):
        yield bytes(chunk.data)


def ends_after(digest: bytes, size: int, mean: int) -> bool:
    """Whether a group of parts ends after this one, of `size` bytes: once in `mean` bytes, and
    always after the same parts.
    """
    return int.from_bytes(digest[:4]) * mean < size << 32


def identity(data: bytes) -> bytes:
    """What identifies a chunk, or the content of a small file: 32 bytes."""
    return hashlib.sha256(data).digest()


def identity_of_large(chunks: Sequence[bytes]) -> bytes:
    """What identifies the content of a large file whose chunks have these digests: 32 bytes."""
    return hashlib.sha256(b"".join(chunks)).digest()
