"""What else nobody needs: rows of the index, old logs, forgotten locks, leftovers of killed builds.

Records of steps stay for as long as they may be of use: the keys of the steps below can be computed
from a record whose layers are gone, and `lamina explain` reads them.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from lamina.cache.eviction import Limits
from lamina.cache.mountlist import remove_left_overs
from lamina.cachekey.key import Part
from lamina.control.keeping.measuring import disk_use
from lamina.control.keeping.space import Space
from lamina.control.recording.removals import Removal, note_removal
from lamina.errors import HostError
from lamina.fs.lock import try_lock
from lamina.fs.remove import remove_tree
from lamina.layer.stack import Stack
from lamina.oci.digest import Digest, digest_from, encoded
from lamina.snapshot.store import LayerStore

_DAY: Final = 86400.0
_RECORDS: Final = 90 * _DAY  # seconds for which a record without layers is kept, at least
_FILES: Final = 30 * _DAY  # the same for logs, and what is known of contexts
_DIGEST: Final = re.compile(rb"sha256:([0-9a-f]{64})")
_WORTH: Final = 1 << 20  # free bytes in the index, from which on it is written anew
_STACK: Final = msgspec.msgpack.Decoder(Stack)
_PARTS: Final = msgspec.msgpack.Decoder(tuple[Part, ...])


class Tidied(msgspec.Struct, frozen=True, kw_only=True):
    """How many `rows` of the index and `files` went, `freed` bytes in all."""

    rows: int = 0
    files: int = 0
    freed: int = 0


def tidy(space: Space, limits: Limits, *, now: float, everything: bool, dry_run: bool) -> Tidied:
    """Raises HostError. With `everything`, all records go whose layers are not here."""
    files = list(_old_files(space.root, now))
    freed = sum(map(disk_use, files))
    before = disk_use(f"{space.root}/index.db")
    rows = _Rows(space, limits, now=now, everything=everything)
    if dry_run:
        return Tidied(rows=rows.count(), files=len(files), freed=freed)
    removed = rows.remove()
    for path in files:
        remove_tree(path)
    _remove_locks(f"{space.root}/locks")
    remove_left_overs(f"{space.root}/mounts")
    if removed:
        _shrink(space)
    after = disk_use(f"{space.root}/index.db")
    return Tidied(rows=removed, files=len(files), freed=freed + max(before - after, 0))


def _old_files(root: str, now: float) -> Iterator[str]:
    """Logs and stats of contexts that nobody has used for long; layers that are none."""
    for folder in ("logs", "contexts"):
        with contextlib.suppress(OSError), os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                if now - entry.stat(follow_symlinks=False).st_mtime > _FILES:
                    yield entry.path
    names = {os.path.dirname(path) for path in _layer_places(root)}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(f"{root}/layers"):
            if f"{root}/layers/{name}" not in names:
                yield f"{root}/layers/{name}"


def _layer_places(root: str) -> Iterator[str]:
    layers = LayerStore(root)
    for layer in layers.ids():
        yield layers.diff_dir(layer)


class _Rows:
    """The rows of the index that nobody needs, by table."""

    def __init__(self, space: Space, limits: Limits, *, now: float, everything: bool) -> None:
        self.space = space
        self.rows = space.index.rows
        self.here = set(LayerStore(space.root).ids())
        self.records = set(self._records(limits, now, everything=everything))
        kept = self._layers() | self.here | _named(space)
        self.listings = self._listings()
        self.blobs = [
            (layer, form)
            for layer, form in self.rows("SELECT layer, form FROM blobs")
            if digest_from(layer) not in kept
        ]
        self.memos = [
            (kind, key)
            for kind, key, value in self.rows(
                "SELECT kind, key, value FROM memos WHERE kind IN ('layer', 'foreign')"
            )
            if (Digest(value.decode()) if kind == "layer" else digest_from(key)) not in kept
        ]

    def count(self) -> int:
        return len(self.records) + len(self.listings) + len(self.blobs) + len(self.memos)

    def remove(self) -> int:
        for key in self.records:
            self.rows("DELETE FROM records WHERE key = ?", (key,))
        for digest in self.listings:
            self.rows("DELETE FROM listings WHERE digest = ?", (digest,))
        for layer, form in self.blobs:
            self.rows("DELETE FROM blobs WHERE layer = ? AND form = ?", (layer, form))
        for kind, key in self.memos:
            self.rows("DELETE FROM memos WHERE kind = ? AND key = ?", (kind, key))
        if self.records:
            keys = tuple(map(digest_from, self.records))
            removal = Removal(by="lamina cache prune", at=time.time(), keys=keys, why="not used")
            note_removal(self.space.root, removal)
        return self.count()

    def _records(self, limits: Limits, now: float, *, everything: bool) -> Iterator[bytes]:
        """Those without layers that nobody has asked for since long ago."""
        kept = 0.0 if everything else max(limits.keep_seconds or 0.0, _RECORDS)
        for key, stack, used in self.rows("SELECT key, stack, last_used FROM records"):
            layers = _STACK.decode(stack)
            if now - used > kept and layers and layers[-1].id not in self.here:
                yield key

    def _layers(self) -> set[Digest]:
        """All that the records that stay are made of."""
        return {
            layer.id
            for key, stack in self.rows("SELECT key, stack FROM records")
            if key not in self.records
            for layer in _STACK.decode(stack)
        }

    def _listings(self) -> list[bytes]:
        """Those that no record mentions, and no build whose record is kept."""
        wanted = {
            bytes.fromhex(encoded(Digest(part.value)))
            for key, parts in self.rows("SELECT key, parts FROM records")
            if key not in self.records
            for part in _PARTS.decode(parts)
            if _DIGEST.fullmatch(part.value.encode("utf-8", "replace"))
        }
        loose = [row[0] for row in self.rows("SELECT digest FROM listings")]
        loose = [digest for digest in loose if digest not in wanted]
        if loose:
            mentioned = set(_in_history(f"{self.space.root}/history"))
            loose = [digest for digest in loose if digest not in mentioned]
        return loose


def _named(space: Space) -> set[Digest]:
    """The layers of images in the local store, as files."""
    from lamina.control.keeping.inventory import take_inventory

    images = take_inventory(space).images
    return {layer.files for image in images for layer in image.layers}


def _in_history(folder: str) -> Iterator[bytes]:
    """Every digest in the records of builds."""
    with contextlib.suppress(FileNotFoundError):
        for build in os.listdir(folder):
            for name in ("record.json", "running.json"):
                with (
                    contextlib.suppress(OSError),
                    open(f"{folder}/{build}/{name}", "rb") as file,
                ):
                    yield from (
                        bytes.fromhex(found.decode()) for found in _DIGEST.findall(file.read())
                    )


def _remove_locks(folder: str) -> None:
    """Locks that nobody holds. Whoever waits for one makes a new file."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            taken = try_lock(f"{folder}/{name}")
            if taken is not None:
                taken.remove()


def _shrink(space: Space) -> None:
    """Write the index anew where much of it is empty. Best effort: that needs room on the disk."""
    with contextlib.suppress(HostError):
        ((free,),) = space.index.rows("PRAGMA freelist_count")
        ((page,),) = space.index.rows("PRAGMA page_size")
        if free * page > _WORTH:
            space.index.rows("VACUUM")
        space.index.rows("PRAGMA wal_checkpoint(TRUNCATE)")
