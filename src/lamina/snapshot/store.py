"""Unpacked layers on disk, by id.

    <root>/layers/<name>/diff/      the layer in overlay form
    <root>/layers/<name>/manifest   "lamina layer 1\\n", 32 bytes of the id, the entries in msgpack
    <root>/making/<unique>/{diff,work}    what is being made, with <unique>.lock held by its maker

A layer appears by one rename, whole, and never changes. `name` are the first 132 bits of the id in
22 characters: a kernel without `lowerdir+` must fit the names of 127 layers into one page.
Rejected: one directory per id prefix (longer names), the id in hexadecimal (64 characters).
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from typing import Final, Self

import msgspec

from lamina.content.room import FULL, LAYER, UNWATCHED, Room
from lamina.errors import HostError
from lamina.fs.lock import FileLock, lock, locked, try_lock
from lamina.fs.publish import publish_directory
from lamina.fs.remove import remove_tree
from lamina.layer.contents import Contents
from lamina.layer.entry import Entry, Kind, Manifest, decode_manifest, encode_manifest
from lamina.layer.stack import LayerLost
from lamina.layer.weight import weight
from lamina.oci.digest import Digest, digest_from, encoded
from lamina.snapshot.idmap import IdMaps, read_id_maps

_MAGIC: Final = b"lamina layer 1\n"
_ID: Final = 32
_MOST_KEPT: Final = 100_000
_AGAIN: Final = "build again: the steps that need it will run anew"


class WorkDir:
    """A directory on the file system of the layers to make one in: `diff` and `work` are empty.

    It goes at the end of the `with` block (or with `close`), unless it was published.
    """

    def __init__(self, path: str, held: FileLock) -> None:
        self.path = path
        self.diff = f"{path}/diff"
        self.work = f"{path}/work"
        self._lock = held

    def close(self) -> None:
        """Removes what is left of it."""
        remove_tree(self.path)
        self._lock.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LayerStore:
    """The layers below `root`. Safe for several threads and processes."""

    def __init__(self, root: str, *, room: Room = UNWATCHED) -> None:
        """Layers that somebody asks for here are held in `room`, so that they stay."""
        self.root = os.path.abspath(root)
        self._room = room
        self._layers = f"{self.root}/layers"
        self._works = f"{self.root}/making"
        self._ready = False
        self._guard = threading.Lock()
        self._kept: dict[Digest, Manifest] = {}
        self._maps: IdMaps | None = None
        self.contents = Contents()
        """Of small files that were read on their way into layers."""

    def has(self, layer: Digest) -> bool:
        """Whether the layer is there, unpacked."""
        name = _name(layer)
        self._room.hold(layer)
        return layer in self._kept or (
            self._read_id(name) == layer and os.path.isdir(f"{self._layers}/{name}/diff")
        )

    def ids(self) -> Iterator[Digest]:
        """All layers, in no order."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._layers):
                layer = self._read_id(name)
                if layer is not None:
                    yield layer

    def diff_dir(self, layer: Digest) -> str:
        """The directory that an overlay takes as a lower one."""
        return f"{self._layers}/{_name(layer)}/diff"

    def made_at(self, layer: Digest) -> float:
        """When the layer was made, in seconds since 1970. Raises HostError where it is gone."""
        path = f"{self._layers}/{_name(layer)}"
        try:
            return os.path.getmtime(path)
        except OSError as error:
            raise LayerLost(f"layer {layer} is gone from the store", hint=_AGAIN) from error

    def manifest(self, layer: Digest) -> Manifest:
        """What is in the layer. Raises HostError where it is gone or damaged."""
        kept = self._kept.get(layer)
        if kept is not None:
            return kept
        self._room.hold(layer)
        path = f"{self._layers}/{_name(layer)}/manifest"
        try:
            with open(path, "rb") as file:
                data = file.read()
            if not data.startswith(_MAGIC + bytes.fromhex(encoded(layer))):
                raise self._damaged(layer, "it belongs to another layer")
            manifest = decode_manifest(data[len(_MAGIC) + _ID :])
        except FileNotFoundError as error:
            raise LayerLost(f"layer {layer} is gone from the store", hint=_AGAIN) from error
        except msgspec.DecodeError as error:
            raise self._damaged(layer, str(error)) from error
        except OSError as error:
            raise HostError(f"{path} cannot be read: {error.strerror}") from error
        self._keep(layer, manifest)
        return manifest

    def _damaged(self, layer: Digest, why: str) -> LayerLost:
        """Puts a layer out of the way that nobody can use, so that it will be made again."""
        self.remove(layer)
        path = f"{self._layers}/{_name(layer)}"
        return LayerLost(f"a layer in the store was damaged: {path}/manifest: {why}", hint=_AGAIN)

    def size(self, layer: Digest) -> int:
        """The bytes of all its files."""
        return sum(entry.size for entry in self.manifest(layer).entries)

    def is_exact(self, layer: Digest) -> bool:
        """Whether the files on disk have the owners and devices that the manifest says.

        They do not in a user namespace that lacks those ids.
        """
        maps = self._id_maps()
        if maps.complete:
            return True
        return all(_fits(entry, maps) for entry in self.manifest(layer).entries)

    def work(self, *, size: int = 0) -> WorkDir:
        """A new empty work directory. Those of processes that were killed are removed first.

        `size` is about how much will be written to it, in bytes; 0: nobody knows.
        """
        self._prepare()
        self._room.make(size)
        unique = f"{os.getpid()}-{threading.get_ident():x}-{time.monotonic_ns():x}"
        path = f"{self._works}/{unique}"
        with host_errors(path), locked(f"{self._works}/lock", shared=True):
            held = lock(f"{path}.lock")
            if held is None:
                raise HostError(f"{path}.lock cannot be locked")
            os.mkdir(path, 0o700)
        work = WorkDir(path, held)
        with host_errors(path):
            os.mkdir(work.work, 0o700)
            os.mkdir(work.diff, 0o755)
            os.chmod(work.diff, 0o755)
            os.utime(work.diff, ns=(0, 0))
        return work

    def publish(
        self,
        work: WorkDir,
        manifest: Manifest,
        *,
        id: Digest | None = None,  # noqa: A002
        made: float | None = None,
    ) -> Digest:
        """Makes the work directory's `diff` the layer `id`, by default the manifest's identity.

        `made` is when it was made (`made_at`), by default now. Where it is there already, that one
        stays. Returns the id. Raises HostError.
        """
        layer = id or manifest.identity()
        if self.has(layer):
            return layer
        final = f"{self._layers}/{_name(layer)}"
        with host_errors(final):
            _settle_root(work.diff, manifest)
            with open(f"{work.path}/manifest", "wb") as file:
                file.write(_MAGIC + bytes.fromhex(encoded(layer)))
                file.write(encode_manifest(manifest))
            remove_tree(work.work)
            os.chmod(work.path, 0o755)
            if made is not None:
                os.utime(work.path, ns=(_nanoseconds(made), _nanoseconds(made)))
            if not publish_directory(work.path, final) and not self.has(layer):
                self.remove(layer)  # what is left of it after somebody's hand, or a full disk
                publish_directory(work.path, final)
        self._room.wrote(LAYER, layer, weight(manifest))
        self._keep(layer, manifest)
        return layer

    def remove(self, layer: Digest) -> None:
        """Removes the layer, at once for everybody; it is no error if it is gone.

        Takes no room on the disk, which may be full.
        """
        self._prepare()
        with self._guard:
            self._kept.pop(layer, None)
        gone = f"{self._works}/{os.getpid()}-{threading.get_ident():x}-{time.monotonic_ns():x}"
        # The lock keeps sweepers away; after a kill the next one removes what has no lock file.
        with (
            host_errors(self._layers),
            contextlib.suppress(FileNotFoundError),
            locked(f"{self._works}/lock", shared=True),
        ):
            os.rename(f"{self._layers}/{_name(layer)}", gone)
            remove_tree(gone)

    def _prepare(self) -> None:
        if self._ready:
            return
        with host_errors(self.root):
            os.makedirs(self._layers, mode=0o755, exist_ok=True)
            os.makedirs(self._works, mode=0o700, exist_ok=True)
            held = try_lock(f"{self._works}/lock")
            if held is not None:  # else somebody makes one or sweeps right now
                with held:
                    self._sweep()
        self._ready = True

    def _sweep(self) -> None:
        """Removes work directories whose makers are dead."""
        names = set(os.listdir(self._works)) - {"lock"}
        for name in names:
            path = f"{self._works}/{name}"
            if not name.endswith(".lock"):
                if f"{name}.lock" not in names:
                    remove_tree(path)
                continue
            held = try_lock(path)
            if held is not None:
                remove_tree(path.removesuffix(".lock"))
                held.remove()

    def _read_id(self, name: str) -> Digest | None:
        try:
            with open(f"{self._layers}/{name}/manifest", "rb", buffering=0) as file:
                head = file.read(len(_MAGIC) + _ID)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(head) != len(_MAGIC) + _ID or not head.startswith(_MAGIC):
            return None
        return digest_from(head[len(_MAGIC) :])

    def _keep(self, layer: Digest, manifest: Manifest) -> None:
        """Remembers the manifest, and forgets old ones where they grow too many."""
        with self._guard:
            self._kept[layer] = manifest
            count = sum(len(kept.entries) for kept in self._kept.values())
            for old in list(self._kept)[:-1]:
                if count <= _MOST_KEPT:
                    break
                count -= len(self._kept.pop(old).entries)

    def _id_maps(self) -> IdMaps:
        if self._maps is None:
            self._maps = read_id_maps()
        return self._maps


def _name(layer: Digest) -> str:
    raw = bytes.fromhex(encoded(layer))
    return base64.b64encode(raw, altchars=b"_+").decode()[:22]


def _nanoseconds(moment: float) -> int:
    """The time in ns that os.path.getmtime gives back as exactly this float."""
    seconds = int(moment)
    return seconds * 10**9 + round((moment - seconds) * 1e9)


def _settle_root(diff: str, manifest: Manifest) -> None:
    """A root directory that the layer says nothing of has the time 0: others show through it."""
    first = manifest.entries[0] if manifest.entries else None
    if first is not None and first.path == b"":
        os.utime(diff, ns=(first.mtime_ns or 1, first.mtime_ns or 1))
        return
    os.chown(diff, os.geteuid(), os.getegid())
    os.chmod(diff, 0o755)
    os.utime(diff, ns=(0, 0))


def _fits(entry: Entry, maps: IdMaps) -> bool:
    if entry.kind in (Kind.CHARACTER, Kind.BLOCK):
        return False
    return maps.has_user(entry.uid) and maps.has_group(entry.gid)


@contextlib.contextmanager
def host_errors(path: str) -> Iterator[None]:
    """Turns errors of the disk into HostError."""
    try:
        yield
    except OSError as error:
        name = os.fsdecode(error.filename) if error.filename else path
        hint = FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        raise HostError(f"{name} cannot be written: {error.strerror}", hint=hint) from error
