"""`lamina cache du`: what the store takes on disk, by kind, to the byte.

Every file below the store belongs to one kind, so the sum is what `du -s --block-size=1` says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import assert_never

import msgspec
from msgspec.structs import replace

from lamina.cache.eviction import Item, Kind
from lamina.control.keeping.inventory import take_inventory
from lamina.control.keeping.measuring import Inodes, disk_use
from lamina.control.privileges import become_root
from lamina.control.store import open_store
from lamina.oci.digest import Digest
from lamina.snapshot.store import LayerStore

STEPS, BASES, BLOBS = "layers of steps", "unpacked images", "blobs"
MOUNTS, HISTORY, CONTEXTS = "cache mounts", "history and logs", "context index"
INDEX, WORK = "cache index", "work directories and locks"
_KINDS = {Kind.STEP: STEPS, Kind.BASE: BASES, Kind.BLOB: BLOBS, Kind.MOUNT: MOUNTS}
_FOLDERS = {"history": HISTORY, "logs": HISTORY, "contexts": CONTEXTS, "images": BLOBS}
_FOLDERS |= {"layers": STEPS, "mounts": MOUNTS}


class KindUse(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of things: how many, their bytes on disk, and how many bytes of it may go
    (`reclaimable`) or belong to several images or steps (`shared`).
    """

    kind: str
    count: int = 0
    size: int = 0
    reclaimable: int = 0
    shared: int = 0


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One thing. `used` in seconds since 1970; `users` is how many images and steps it belongs to,
    `needed` who needs it ("": nobody, it may go), `seconds` what it would take to have it again.
    """

    kind: str
    name: str
    size: int
    used: float
    seconds: float
    what: str
    users: int
    needed: str
    useless: bool


class DiskUse(msgspec.Struct, frozen=True, kw_only=True):
    """`total` is the sum of all kinds; `max_size` what the settings allow, None: no limit."""

    root: str
    total: int
    max_size: int | None
    kinds: tuple[KindUse, ...]
    pieces: tuple[Piece, ...] = ()


def disk_usage(root: str, environ: Mapping[str, str]) -> DiskUse:
    """Look at everything. Raises HostError, and UsageError for wrong settings."""
    become_root()
    store = open_store(root, environ)
    inventory = take_inventory(store.space)
    max_size = store.space.settings.cache.max_size
    store.index.close()  # what the database keeps beside its file while it is open is not counted
    counting = _Counting(store.root)
    pieces = sorted(
        (counting.piece(item, inventory.shared) for item in inventory.items),
        key=lambda piece: (-piece.size, piece.name),
    )
    counting.rest()
    kinds = tuple(each for each in counting.kinds.values() if each.size or each.count)
    return DiskUse(
        root=store.root,
        total=sum(each.size for each in kinds),
        max_size=max_size,
        kinds=kinds,
        pieces=tuple(pieces),
    )


class _Counting:
    """Counts every file once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.seen: Inodes = set()
        self.counted: set[str] = set()
        self.layers = LayerStore(root)
        names = (STEPS, BASES, BLOBS, MOUNTS, HISTORY, CONTEXTS, INDEX, WORK)
        self.kinds = {name: KindUse(kind=name) for name in names}

    def piece(self, item: Item, shared: dict[Digest, int]) -> Piece:
        path = self._path(item)
        self.counted.add(path)
        size = disk_use(path, seen=self.seen)
        kind, users = _KINDS[item.kind], shared.get(Digest(item.name), 0)
        old = self.kinds[kind]
        self.kinds[kind] = replace(
            old,
            count=old.count + 1,
            size=old.size + size,
            reclaimable=old.reclaimable + (0 if item.needed else size),
            shared=old.shared + (size if users > 1 else 0),
        )
        return Piece(
            kind=kind,
            name=item.name,
            size=size,
            used=item.used,
            seconds=item.seconds,
            what=item.what,
            users=users,
            needed=item.needed,
            useless=item.useless,
        )

    def rest(self) -> None:
        """What is no piece of anything: folders, records, the index, work directories."""
        self._add(WORK, os.lstat(self.root).st_blocks * 512)
        for name in os.listdir(self.root):
            kind = INDEX if name.startswith("index.db") else _FOLDERS.get(name, WORK)
            path = f"{self.root}/{name}"
            spare = self.counted | {f"{self.root}/images/ingest"} if kind == BLOBS else self.counted
            self._add(kind, disk_use(path, seen=self.seen, spare=spare))
        self._add(WORK, disk_use(f"{self.root}/images/ingest", seen=self.seen))
        builds = os.listdir(f"{self.root}/history")
        history = self.kinds[HISTORY]
        self.kinds[HISTORY] = replace(history, count=sum("." not in name for name in builds))

    def _add(self, kind: str, size: int) -> None:
        old = self.kinds[kind]
        self.kinds[kind] = replace(old, size=old.size + size)

    def _path(self, item: Item) -> str:
        match item.kind:
            case Kind.STEP | Kind.BASE:
                return os.path.dirname(self.layers.diff_dir(Digest(item.name)))
            case Kind.BLOB:
                return f"{self.root}/images/blobs/sha256/{item.name.rpartition(':')[2]}"
            case Kind.MOUNT:
                return f"{self.root}/mounts/{item.name}"
            case _:
                assert_never(item.kind)
