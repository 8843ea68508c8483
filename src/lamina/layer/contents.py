"""What small files hold, kept for whoever needs it next.

A file of the context is wanted three times within a second: hashed for the key, copied into the
layer, archived for the diff ID. Opening a small file costs more than all that is done with it, so
what was read and hashed once is kept as long as there is room. Whatever is not here is read from
the disk: nothing depends on it. First come stays, as those who come later go through the files in
the same order: to drop the oldest would drop each just before it is asked for.
"""

from __future__ import annotations

from typing import Final

SMALL: Final = 64 * 1024
"""Larger files are not kept: of them, reading is the lesser part."""

_ROOM: Final = 24 << 20
_MOST_FILES: Final = 30_000
_OVERHEAD: Final = 200  # bytes that the interpreter needs for each


class Contents:
    """Contents by the SHA-256 that was computed of them. Safe for several threads."""

    def __init__(self, room: int = _ROOM) -> None:
        """`room` is in bytes."""
        self._room = room
        self._held: dict[bytes, bytes] = {}
        self.get = self._held.get
        """The content with this digest, or None."""

    def for_files(self, count: int) -> Contents:
        """Itself, or what keeps nothing for so many files: they need the memory themselves."""
        return self if count <= _MOST_FILES else Contents(room=0)

    def keep(self, digest: bytes, content: bytes) -> None:
        """Remembers `content`, whose digest this is, where there is room."""
        size = len(content) + _OVERHEAD
        if size <= min(self._room, SMALL + _OVERHEAD) and digest not in self._held:
            self._held[digest] = content
            self._room -= size
