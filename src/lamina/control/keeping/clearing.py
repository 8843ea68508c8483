"""Taking away what the plan says, and telling those who may ask later.

A layer goes by a rename, so nobody sees half of one. While that happens it is locked: a build that
is just about to use it waits, and finds it gone. What a build uses already cannot be locked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from lamina.cache.eviction import Going, Kind, Limits, Plan, Why, plan
from lamina.cache.mountlist import list_copies
from lamina.content.images import ImageStore
from lamina.content.room import BLOB, LAYER
from lamina.content.store import BlobStore
from lamina.control.keeping.inventory import ImageNeeds, Inventory, take_inventory
from lamina.control.keeping.measuring import MOUNT, measure_mount, rest, walk
from lamina.control.keeping.space import Space
from lamina.control.recording.removals import Removal, note_removal
from lamina.fs.lock import locked
from lamina.oci.digest import Digest, encoded
from lamina.snapshot.store import LayerStore

AUTOMATIC: Final = "max-size"
"""Who removed something to keep the limits of the settings."""
_AT_ONCE: Final = 200  # names in a line of the log
_AGED: Final = "aged"  # the kind of the row that says when the store was last looked through
_PAUSE: Final = 6 * 3600.0  # seconds after which that is done again
_SHORT: Final = 10.0  # seconds in which a mount that is in use is not measured again


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """What went, or would go. `total` are the bytes before that, `lacking` those that are too much
    still, `untagged` names of images that are not whole any more.
    """

    going: tuple[Going, ...]
    total: int
    lacking: int = 0
    untagged: tuple[str, ...] = ()

    @property
    def freed(self) -> int:
        """In bytes."""
        return sum(each.item.size for each in self.going)


def keep_limits(space: Space, *, room: int, aged: bool) -> str:
    """Make so many bytes of room within the limits of the settings. `aged`: what is too old goes,
    too. Returns what the user should know, or "".
    """
    limits = space.settings.cache
    if not aged or time.time() - space.holdings.seen(_AGED) < _PAUSE:
        limits = replace(limits, keep_seconds=None)
    if not _is_due(space, limits, room=room):
        return ""
    with locked(f"{space.root}/locks/space"):
        if not _is_due(space, limits, room=room):  # another process has cleared meanwhile
            return ""
        cleared = clear(space, limits, by=AUTOMATIC, room=room)
        if limits.keep_seconds is not None:
            space.holdings.add(_AGED, b"", 0)
    if not cleared.lacking or limits.max_size is None:
        return ""
    return (
        f"max-size is {_megabytes(limits.max_size)}, and the store needs "
        f"{_megabytes(limits.max_size + cleared.lacking)}: what is left in it is in use, or "
        "belongs to images (lamina cache du)"
    )


def clear(
    space: Space,
    limits: Limits,
    *,
    by: str,
    room: int = 0,
    everything: bool = False,
    images_too: bool = False,
    dry_run: bool = False,
) -> Cleared:
    """Keep the limits, once. `everything` and `images_too`: see `plan` and `take_inventory`."""
    inventory = take_inventory(space, images_too=images_too)
    total = total_of(space)
    now = time.time()
    made = plan(inventory.items, limits, total=total, now=now, room=room, everything=everything)
    going = made.going if dry_run else _remove(space, inventory, made, by=by, now=now)
    untagged = _untag(space, inventory.images, going, dry_run=dry_run) if images_too else ()
    missed = made.freed - sum(each.item.size for each in going)
    return Cleared(
        going=going,
        total=total,
        lacking=made.lacking + (missed if limits.max_size is not None else 0),
        untagged=untagged,
    )


def total_of(space: Space) -> int:
    """The bytes that the store takes; walks it where that was never done."""
    if not space.holdings.is_whole():
        space.holdings.replace(walk(space.root))
    else:
        _weigh_mounts(space)
    return space.holdings.total() + rest(space.root)


def _is_due(space: Space, limits: Limits, *, room: int) -> bool:
    if limits.keep_seconds is not None:
        return True
    return limits.max_size is not None and total_of(space) + room > limits.max_size


def _weigh_mounts(space: Space) -> None:
    """Measure the cache mounts that were used since the last time."""
    now, known = time.time(), space.holdings.all(MOUNT)
    copies = {copy.name.encode(): copy for copy in list_copies(f"{space.root}/mounts")}
    for name, copy in copies.items():
        seen = known[name].seen if name in known else 0.0
        if seen <= copy.used or (now - seen > _SHORT and copy.is_in_use()):
            measure_mount(copy, space.holdings)
    for name in known.keys() - copies.keys():
        space.holdings.remove(MOUNT, name)


def _remove(
    space: Space, inventory: Inventory, made: Plan, *, by: str, now: float
) -> tuple[Going, ...]:
    """What went indeed: somebody may use it by now, or have taken it away before."""
    layers, blobs = LayerStore(space.root), BlobStore(f"{space.root}/images")
    gone = []
    try:
        for going in made.going:
            item = going.item
            if item.kind is Kind.MOUNT:
                if not inventory.copies[item.name].remove():
                    continue
                space.holdings.remove(MOUNT, item.name.encode())
            else:
                name = Digest(item.name)
                with space.leases.alone(name) as alone:
                    if not alone:
                        continue
                    if item.kind is Kind.BLOB:
                        blobs.remove(name)
                    else:
                        layers.remove(name)
                kind = BLOB if item.kind is Kind.BLOB else LAYER
                space.holdings.remove(kind, bytes.fromhex(encoded(name)))
            gone.append(going)
    finally:
        _note(space.root, gone, by=by, at=now)
    return tuple(gone)


def _note(root: str, gone: Sequence[Going], *, by: str, at: float) -> None:
    """A line in the log for every reason, and for so many names."""
    for why in Why:
        these = [going.item for going in gone if going.why is why]
        for start in range(0, len(these), _AT_ONCE):
            part = these[start : start + _AT_ONCE]
            note_removal(
                root,
                Removal(
                    by=by,
                    at=at,
                    layers=_names(x.name for x in part if x.kind in (Kind.STEP, Kind.BASE)),
                    blobs=_names(x.name for x in part if x.kind is Kind.BLOB),
                    mounts=tuple(x.what for x in part if x.kind is Kind.MOUNT),
                    why=why.value,
                ),
            )


def _names(names: Iterable[str]) -> tuple[Digest, ...]:
    return tuple(map(Digest, names))


def _untag(
    space: Space, images: Sequence[ImageNeeds], going: Sequence[Going], *, dry_run: bool
) -> tuple[str, ...]:
    """Take the names of images that cannot be had whole any more."""
    blobs, layers = BlobStore(f"{space.root}/images"), LayerStore(space.root)
    gone = {each.item.name for each in going}
    store, names = ImageStore(blobs), []
    for image in images:
        if all(
            layer.fetched
            or (layer.files not in gone and layers.has(layer.files))
            or (layer.blob not in gone and os.path.exists(blobs.path(layer.blob)))
            for layer in image.layers
        ):
            continue
        if not dry_run:
            store.untag(image.name.reference)
        names.append(image.name.reference.familiar)
    return tuple(names)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f}GB" if size >= 10**9 else f"{size / 1e6:.1f}MB"
