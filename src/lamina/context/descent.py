"""Directories below a root, opened one component at a time, never through a symlink.

Whoever may write into the root cannot lead a reader out of it: a directory that is exchanged for a
symlink between two looks is an error (ELOOP or ENOTDIR), not a way out.
"""

from __future__ import annotations

import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Descent:
    """The chain of open directories down to the one asked for last.

    Asking in depth-first order opens every directory once. Not for use by two threads.
    """

    def __init__(self, root: int) -> None:
        """`root` is the descriptor of the root directory; it stays the caller's."""
        self._descriptors = [root]
        self._parts: list[bytes] = []
        self._path = b""

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def directory(self, path: bytes) -> int:
        """The descriptor of the directory with the real path `path`, open until the next call.

        Raises OSError.
        """
        if path == self._path:
            return self._descriptors[-1]
        parts = path.split(b"/") if path else []
        common = 0
        for ours, theirs in zip(self._parts, parts, strict=False):
            if ours != theirs:
                break
            common += 1
        self._rise(common)
        for part in parts[common:]:
            self._descriptors.append(os.open(part, _DIRECTORY, dir_fd=self._descriptors[-1]))
            self._parts.append(part)
        self._path = path
        return self._descriptors[-1]

    def close(self) -> None:
        self._rise(0)

    def _rise(self, depth: int) -> None:
        while len(self._parts) > depth:
            os.close(self._descriptors.pop())
            self._parts.pop()
        self._path = b"/".join(self._parts)
