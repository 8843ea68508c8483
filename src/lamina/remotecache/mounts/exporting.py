"""The cache mounts of a build become states for the document that is being written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from lamina.cache.mounts import CacheMounts, StillFolder, file_stamps
from lamina.content.store import BlobStore
from lamina.context.statindex import StatIndex
from lamina.errors import HostError, RemoteError
from lamina.oci.platform import Platform
from lamina.remotecache.document import MountState
from lamina.remotecache.mounts.choosing import nearest
from lamina.remotecache.mounts.manifest import MalformedState, MountManifest
from lamina.remotecache.mounts.saving import Saved, save
from lamina.remotecache.mounts.seeding import Source
from lamina.remotecache.mounts.states import LoadedState, load, store
from lamina.remotecache.mounts.telling import Teller, amount, megabytes, throttled
from lamina.remotecache.port import CacheReader, CacheWriter

_PATIENCE: Final = 30.0  # seconds for a lock that another build has
_NAMED: Final = 3  # files that are left out

MountName = tuple[str, Platform]
"""What identifies a cache mount."""


class MountExport(msgspec.Struct, frozen=True, kw_only=True):
    """What all mounts of one export share.

    `earlier` are the states that `writer` has. Packs of states `elsewhere` may be there, too.
    `others` are the ids of all mounts that are saved.
    """

    mounts: CacheMounts
    earlier: tuple[MountState, ...]
    writer: CacheWriter
    documents: BlobStore
    step: Teller
    elsewhere: tuple[Source, ...] = ()
    others: frozenset[str] = frozenset()
    clock: Callable[[], float] = time.time

    def save(self, name: str, platform: Platform) -> MountState | None:
        """The state of a mount; None for one without a folder here, and for one that this build
        did not use, unless the other side has no state of it.

        Raises what the writer raises; what is wrong with the mount is a note.
        """
        identity = (name, str(platform))
        has_own = any((state.id, state.platform) == identity for state in self.earlier)
        if identity not in self.mounts.opened and has_own:
            return None
        alone = self.mounts.opened.get(identity, False)
        with self.mounts.still(name, platform, alone=alone, patience=_PATIENCE) as folder:
            if folder is not None:
                try:
                    return self._save(folder, name, platform)
                except OSError as error:
                    self.step.note(f"cache mount {name} is not saved: {error.strerror or error}")
                except MalformedState as error:
                    self.step.note(f"cache mount {name} is not saved: {error.message}")
            elif alone:
                self.step.note(f"cache mount {name} is in use by another build: it is not saved")
            return None

    def _save(self, folder: StillFolder, name: str, platform: Platform) -> MountState:
        reader, state = self._start(name, platform)
        trusted = reader is self.writer
        earlier = None if state is None else self._load(state, reader, name)
        manifest = None if earlier is None else earlier.manifest
        saved = self._send(folder, name, manifest, trusted=trusted)
        if trusted and state is not None and saved.manifest == manifest:
            if state.id == name:
                return state
            return replace(state, id=name, saved=self.clock(), signature="")
        stored = store(saved.manifest, earlier if trusted else None, self.documents)
        self.writer.push(stored.blob, self.documents)
        _tell(name, saved, self.step)
        return MountState(
            id=name,
            platform=str(platform),
            manifest=stored.blob,
            packs=(*saved.packs, *stored.base),
            saved=self.clock(),
            size=saved.manifest.size,
        )

    def _start(self, name: str, platform: Platform) -> tuple[CacheReader, MountState | None]:
        """The state that a new one is based on: the nearest of the first place that has one."""
        others = self.others - {name}
        for source in (Source(reader=self.writer, states=self.earlier), *self.elsewhere):
            state = nearest(source.states, name=name, platform=platform, others=others)
            if state is not None:
                return source.reader, state
        return self.writer, None

    def _load(self, state: MountState, reader: CacheReader, name: str) -> LoadedState | None:
        """The state that a new one is based on; without one everything is sent anew."""
        try:
            return load(state, reader, self.documents)
        except (RemoteError, HostError) as error:
            self.step.note(f"cache mount {name} is saved anew: {error.message}")
            return None

    def _send(
        self, folder: StillFolder, name: str, earlier: MountManifest | None, *, trusted: bool
    ) -> Saved:
        index = StatIndex(file_stamps(folder.path))
        tell = throttled(self.step, f"saving cache mount {name}")
        saved = save(
            folder.path,
            earlier=earlier,
            trusted=trusted,
            index=index,
            writer=self.writer,
            scratch=BlobStore(folder.scratch),
            progress=lambda done: tell(done, 0),
            threads=min(os.cpu_count() or 1, 4),
        )
        index.save()
        tell(saved.manifest.size, saved.manifest.size)
        return saved


def save_mounts(names: Iterable[MountName], export: MountExport) -> tuple[MountState, ...]:
    """The states of those mounts that were saved, by id. States of the others must be kept by the
    caller (`choosing.merged`). Raises what the writer raises.
    """
    ordered = sorted(names, key=lambda each: (each[0], str(each[1])))
    export = replace(export, others=frozenset(name for name, _ in ordered))
    made = (export.save(name, platform) for name, platform in ordered)
    return tuple(state for state in made if state is not None)


def _tell(name: str, saved: Saved, step: Teller) -> None:
    step.note(f"saved cache mount {name}: {amount(saved.manifest)}, sent {megabytes(saved.sent)}")
    if saved.left_out:
        named = "; ".join(saved.left_out[:_NAMED])
        more = f" and {len(saved.left_out) - _NAMED} more" if len(saved.left_out) > _NAMED else ""
        step.note(f"cache mount {name} was saved without {named}{more}")
