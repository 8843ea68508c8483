"""How many records of builds are kept (`LAMINA_HISTORY_KEEP`), and what goes when it is too much.

100          so many builds
200MB        so many bytes
100,200MB    both, which is also what holds where nothing is said
0            none but what runs, and the last one if it failed
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import msgspec

from lamina.errors import HostError, UsageError
from lamina.fs.remove import remove_tree
from lamina.notation.sizes import parse_size

VARIABLE = "LAMINA_HISTORY_KEEP"
RECORD = "record.json"
_ABANDONED = 7 * 86400.0  # seconds after which a build that has not ended was killed
_SLACK = 10  # builds more than are kept, so that not every build looks at all the others


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """The bound: builds, and bytes."""

    builds: int = 100
    size: int = 200 * 1000 * 1000


def parse_keep(environ: Mapping[str, str]) -> Keep:
    """Raises UsageError."""
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return Keep()
    builds, size = None, None
    try:
        for item in text.split(","):
            if item.strip().isdecimal():
                builds = int(item)
            else:
                size = parse_size(item.strip())
    except ValueError:
        raise UsageError(
            f"invalid value {text!r} for {VARIABLE}",
            hint="a number of builds, of bytes, or both: 100,200MB",
        ) from None
    if builds is None:
        builds = 10**9
    return Keep(builds=builds, size=Keep().size if size is None else size)


def trim(history: str, keep: Keep, *, spare: str, weigh: bool, now: float) -> None:
    """Remove the oldest builds of more than are kept, but for `spare` and those that still run.

    `weigh`: bytes count too; to add them up costs a look at every file.
    """
    with contextlib.suppress(OSError, HostError):
        names = [name for name in os.listdir(history) if name != spare and "." not in name]
        slack = min(_SLACK, keep.builds // 10)
        if len(names) + bool(spare) <= keep.builds + slack and not weigh:
            return
        builds = sorted(filter(None, (_build(f"{history}/{name}", now) for name in names)))
        total = sum(size for _, size, _ in builds) + (_size(f"{history}/{spare}") if spare else 0)
        left = len(builds) + bool(spare)
        for _, size, path in builds:
            if left <= keep.builds and total <= keep.size:
                return
            remove_tree(path)
            left, total = left - 1, total - size


def _build(path: str, now: float) -> tuple[float, int, str] | None:
    """When the build was last written to, its bytes, and where it is; None while it runs."""
    with contextlib.suppress(OSError):
        changed = os.stat(path).st_mtime
        if os.path.exists(f"{path}/{RECORD}") or now - changed > _ABANDONED:
            return changed, _size(path), path
    return None


def _size(path: str) -> int:
    total = 0
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += _size(entry.path)
            else:
                total += entry.stat(follow_symlinks=False).st_size
    return total
