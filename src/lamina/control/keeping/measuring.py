"""How much there is on disk, by walking: allocated blocks, files with several names once.

The same as what du(1) says (`du -s --block-size=1`).
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Collection, Iterator

from lamina.cache.holdings import Holdings
from lamina.cache.mountlist import MountCopy, list_copies
from lamina.content.room import BLOB, LAYER
from lamina.content.store import BlobStore
from lamina.oci.digest import encoded
from lamina.snapshot.store import LayerStore

MOUNT = "mount"
_BLOCK = 512

Inodes = set[tuple[int, int]]
"""Files with several names that were counted: device and inode."""


def disk_use(path: str, *, seen: Inodes | None = None, spare: Collection[str] = ()) -> int:
    """The bytes of a file, or of a folder with all that is in it, but for the paths in `spare`.

    What goes away meanwhile counts nothing.
    """
    inodes = set() if seen is None else seen
    try:
        status = os.lstat(path)
    except OSError:
        return 0
    total, todo = _bytes(status, inodes), [path] if stat.S_ISDIR(status.st_mode) else []
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                if spare and entry.path in spare:
                    continue
                with contextlib.suppress(OSError):
                    total += _bytes(entry.stat(follow_symlinks=False), inodes)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return total


def _bytes(status: os.stat_result, seen: Inodes) -> int:
    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
        inode = (status.st_dev, status.st_ino)
        if inode in seen:
            return 0
        seen.add(inode)
    return status.st_blocks * _BLOCK


def walk(root: str) -> Iterator[tuple[str, bytes, int]]:
    """Everything that is counted in `Holdings`: kind, name and bytes."""
    layers, blobs = LayerStore(root), BlobStore(f"{root}/images")
    for layer in layers.ids():
        place = os.path.dirname(layers.diff_dir(layer))
        yield LAYER, bytes.fromhex(encoded(layer)), disk_use(place)
    for blob in blobs.digests():
        yield BLOB, bytes.fromhex(encoded(blob)), disk_use(str(blobs.path(blob)))
    for copy in list_copies(f"{root}/mounts"):
        yield MOUNT, copy.name.encode(), disk_use(copy.place)


def rest(root: str) -> int:
    """The bytes of all that is not counted: records of builds, the index, and the like.

    Not of what is just being written.
    """
    spare = {f"{root}/{name}" for name in ("layers", "making", "mounts", "images/blobs")}
    spare.add(f"{root}/images/ingest")
    return disk_use(root, spare=spare)


def mount_size(copy: MountCopy, holdings: Holdings) -> int:
    """The bytes of a copy of a cache mount; measured again only if it was used since."""
    known = holdings.all(MOUNT).get(copy.name.encode())
    if known is not None and known.seen > copy.used:
        return known.size
    return measure_mount(copy, holdings)


def measure_mount(copy: MountCopy, holdings: Holdings) -> int:
    """Measured now, and remembered."""
    now = time.time()
    size = disk_use(copy.place)
    holdings.add(MOUNT, copy.name.encode(), size, seen=now)
    return size
