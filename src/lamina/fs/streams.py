"""Streams of bytes that come from anywhere, and a look at their start."""

from __future__ import annotations

from typing import Protocol

_PIECE = 1 << 16


class Source(Protocol):
    """Where bytes come from; `read` may give fewer than asked for, none only at the end."""

    def read(self, size: int, /) -> bytes: ...


class Peeked:
    """A stream whose first bytes can be looked at before they are read."""

    def __init__(self, stream: Source) -> None:
        self._stream = stream
        self._head = b""

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer than `size` only at the end."""
        pieces = [self._head]
        missing = size - len(self._head)
        while missing > 0 and (piece := self._stream.read(min(missing, _PIECE))):
            pieces.append(piece)
            missing -= len(piece)
        self._head = b"".join(pieces)
        return self._head[:size]

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; all that are left if it is negative."""
        if not self._head:
            return self._stream.read(size)
        if size < 0:
            head, self._head = self._head, b""
            return head + self._stream.read(size)
        head, self._head = self._head[:size], self._head[size:]
        return head

    def readable(self) -> bool:
        """Always: for those who ask a file."""
        return True

    def readinto(self, buffer: memoryview) -> int:
        """Fills a part of the buffer and returns its size; 0 only at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
