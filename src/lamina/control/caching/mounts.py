"""Cache mounts between a build and its external caches: seeded lazily, saved at the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.control.caching.imports import CacheImports
from lamina.control.store import Store
from lamina.graph.vertex import Vertex
from lamina.oci.platform import Platform
from lamina.remotecache.document import MountState
from lamina.remotecache.mounts.choosing import ALL, NONE, choose, merged, mounts_below
from lamina.remotecache.place import CachePlace
from lamina.remotecache.port import CacheWriter
from lamina.trace.recorder import Recorder, Step

if TYPE_CHECKING:
    from lamina.remotecache.mounts.seeding import Restorer, Source
    from lamina.remotecache.writing import SaveMounts


class TravellingMounts:
    """The cache mounts of the steps that `targets` come of."""

    def __init__(
        self,
        targets: Sequence[Vertex],
        *,
        imports: CacheImports,
        store: Store,
        recorder: Recorder,
    ) -> None:
        self._names = mounts_below(targets)
        self._imports = imports
        self._store = store
        self._recorder = recorder
        self._guard = threading.Lock()
        self._restorer: Restorer | None = None

    def seed(
        self, name: str, platform: Platform, folder: str, *, step: Step, cancelled: threading.Event
    ) -> bool:
        """Fills a mount that is new here (`ops.run.Seed`)."""
        with self._guard:
            if self._restorer is None:
                from lamina.remotecache.mounts.seeding import Restorer

                self._restorer = Restorer(
                    self._sources,
                    mounts={name for name, _ in self._names},
                    documents=self._store.blobs,
                    warn=self._recorder.warn,
                )
        return self._restorer.fill(name, platform, folder, step=step, cancelled=cancelled)

    def saver_of(self, place: CachePlace, step: Step) -> SaveMounts | None:
        """What saves the mounts that a place wants; None where it wants none of this build's."""
        choice = choose(place.options.mounts, default=NONE)
        names = [each for each in self._names if each[0] in choice]
        for unknown in sorted(choice.ids - {name for name, _ in self._names}):
            step.note(f"mounts={unknown}: no step of this build has a cache mount with this id")
        if not names:
            return None

        def save(writer: CacheWriter, states: Sequence[MountState]) -> Sequence[MountState]:
            from lamina.remotecache.mounts.exporting import MountExport, save_mounts

            export = MountExport(
                mounts=self._store.mounts,
                earlier=tuple(states),
                elsewhere=tuple(self._sources()),
                writer=writer,
                documents=self._store.blobs,
                step=step,
            )
            return merged(states, save_mounts(names, export))

        return save

    def _sources(self) -> list[Source]:
        """The states in all caches that are read; waits for them."""
        from lamina.remotecache.mounts.seeding import Source

        found = []
        for place, document in self._imports.documents():
            choice = choose(place.options.mounts, default=ALL)
            states = tuple(state for state in document.mounts if state.id in choice)
            if states:
                found.append(Source(reader=place.connect(), states=states))
        return found
