"""What a step finds in a cache mount, and what it leaves there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lamina.fs.weight import weigh
from lamina.graph.mounts import CacheMount
from lamina.trace.recorder import Step

_PATIENCE = 0.1  # seconds: no step is to take noticeably longer for being told of


@contextmanager
def weighed(mount: CacheMount, folder: str, step: Step) -> Iterator[None]:
    """Tells the step what is in `folder` before and after the block, also where that fails."""
    before, whole = weigh(folder, patience=_PATIENCE)
    try:
        yield
    finally:
        after, still_whole = weigh(folder, patience=_PATIENCE) if whole else (before, False)
        step.mounted(
            mount.id,
            target=mount.target,
            sharing=mount.sharing.value,
            before=before,
            after=after,
            whole=whole and still_whole,
        )
