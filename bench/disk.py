"""A file system that is made afresh, so that every scenario starts alike.

On an old file system, the time to create files depends on what was deleted from it before.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DISK = 24 << 30  # bytes; sparse, so only what is used counts


@contextlib.contextmanager
def fresh_disk(scratch: Path) -> Iterator[Path]:
    """An empty ext4 on a loop device, always at the same place; an empty folder without root."""
    image, disk = scratch / "disk.img", scratch / "disk"
    disk.mkdir(exist_ok=True)
    mounted = os.geteuid() == 0 and mount_ext4(image, disk)
    if not mounted:
        print("no loop device to be had: measuring on this file system", file=sys.stderr)
    try:
        yield disk
    finally:
        if mounted:
            subprocess.run(["umount", disk], check=True)
        image.unlink(missing_ok=True)


def mount_ext4(image: Path, place: Path) -> bool:
    with image.open("wb") as stream:
        stream.truncate(DISK)
    # Without lazy initialisation: the kernel would go on with it while we measure.
    options = "-q -E lazy_itable_init=0,lazy_journal_init=0 -N 1000000"
    try:
        for command in (f"mkfs.ext4 {options} {image}", f"mount -o loop,noatime {image} {place}"):
            subprocess.run(command.split(), check=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
