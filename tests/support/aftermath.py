"""What a build has left behind on the machine: mounts, processes, locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

GRACE = 5.0  # seconds that the kernel may need to end what was killed


def left_behind(store: Path, *marks: str) -> list[str]:
    """What is still there of the builds in a store, after a moment's grace.

    `marks` are texts that only the command lines of steps have.
    """
    deadline = time.monotonic() + GRACE
    while found := [*mounts_of(store), *processes_with(*marks), *locks_of(store)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return found


def mounts_of(store: Path) -> list[str]:
    """Processes that see a mount of the store, in whatever mount namespace."""
    found = []
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            if f"{store}/" in mounts.read_text(errors="replace"):
                found.append(f"mount seen by {mounts.parent.name}")
    return found


def processes_with(*marks: str) -> list[str]:
    """Processes whose command line holds one of the marks; tests themselves are none."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = command.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            number = int(command.parent.name)
            if number != os.getpid() and any(mark in words for mark in marks):
                found.append(f"process {number}: {words[:200]}")
    return found


def locks_of(store: Path) -> list[str]:
    """Files of the store that somebody has locked."""
    found = []
    for folder, _, names in os.walk(store):
        for name in names:
            if "lock" in name or folder.endswith("/locks") or name == "making":
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        found.append(f"lock {path}")
    return found
