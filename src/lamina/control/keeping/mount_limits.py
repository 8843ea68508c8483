"""The limits that settings give to single cache mounts.

A mount that is too large, or was not used for too long, begins anew: who has written the files in
it is unknown, and so is which of them may go without the others. It is looked at before a step uses
it, when nobody else does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from lamina.cache.eviction import Limits
from lamina.cache.mountlist import MountCopy, list_copies
from lamina.control.keeping.measuring import MOUNT, mount_size
from lamina.control.keeping.space import Space
from lamina.control.recording.removals import Removal, note_removal
from lamina.control.settings import DAY


def keep_mount_limits(space: Space, name: str, home: str, limits: Limits) -> Iterator[str]:
    """Remove the copies of a mount that are beyond its limits; a sentence for each."""
    now = time.time()
    for copy in list_copies(os.path.dirname(home)):
        if os.path.dirname(copy.place) != home:
            continue
        why = beyond(copy, limits, size=mount_size(copy, space.holdings), now=now)
        if why and copy.remove():
            space.holdings.remove(MOUNT, copy.name.encode())
            removal = Removal(by="the settings of cache mounts", at=now, mounts=(name,), why=why)
            note_removal(space.root, removal)
            yield f"cache mount {name} begins anew: {why}"


def beyond(copy: MountCopy, limits: Limits, *, size: int, now: float) -> str:
    """Why a copy has to go, or ""."""
    if limits.max_size is not None and size > limits.max_size:
        return f"it takes {size / 1e6:.1f}MB, its max-size is {limits.max_size / 1e6:.1f}MB"
    if limits.keep_seconds is not None and now - copy.used > limits.keep_seconds:
        return f"it was not used for {limits.keep_seconds / DAY:g} days"
    return ""
