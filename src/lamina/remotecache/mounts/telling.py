"""What a user is told of a journey: progress, and one line at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from lamina.remotecache.mounts.manifest import MountManifest

_PAUSE: Final = 0.2  # seconds between two tellings of progress


class Teller(Protocol):
    """A step of the trace."""

    def progress(
        self, what: str, current: int, total: int = 0, *, unit: str = "bytes", done: bool = False
    ) -> None: ...
    def note(self, text: str) -> None: ...


def throttled(step: Teller, what: str) -> Callable[[int, int], None]:
    """Tells of progress, though not more often than anybody can read: bytes so far, and in all."""
    last = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        is_done = bool(total) and done >= total
        if now - last >= _PAUSE or is_done:
            last = now
            step.progress(what, done, total, done=is_done)

    return tell


def amount(manifest: MountManifest) -> str:
    """How much is in a mount: `120 MB, 73 files`."""
    files = "1 file" if manifest.files == 1 else f"{manifest.files} files"
    return f"{megabytes(manifest.size)}, {files}"


def megabytes(size: int) -> str:
    """A size for people: `120 MB`, `3.4 MB`, `12 kB`."""
    if size < 1_000_000:
        return f"{size / 1000:.0f} kB" if size >= 1000 else f"{size} B"
    return f"{size / 1e6:.1f} MB" if size < 10_000_000 else f"{size / 1e6:.0f} MB"
