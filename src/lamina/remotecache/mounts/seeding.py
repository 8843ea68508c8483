"""Cache mounts that are new on this machine start from what another one had in them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from lamina.cache.mounts import file_stamps
from lamina.content.store import BlobStore, host_errors
from lamina.errors import HostError, RemoteError
from lamina.fs.remove import remove_tree
from lamina.oci.platform import Platform
from lamina.remotecache.document import MountState
from lamina.remotecache.mounts.choosing import nearest
from lamina.remotecache.mounts.manifest import MountManifest
from lamina.remotecache.mounts.restoring import restore, stamps_of
from lamina.remotecache.mounts.states import load
from lamina.remotecache.mounts.telling import Teller, amount, throttled
from lamina.remotecache.port import CacheReader

_NAMED: Final = 3  # attributes that are lost


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The states of cache mounts that a backend has, and that may be used."""

    reader: CacheReader
    states: tuple[MountState, ...]


class Restorer:
    """Fills cache mounts that are new on this machine.

    `sources` is asked when the first one is; of the same states, the first source's is taken.
    `mounts` are all that the build has: none of them starts from another's state.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[Source]],
        *,
        mounts: Collection[str],
        documents: BlobStore,
        warn: Callable[[str], None],
    ) -> None:
        self._sources = sources
        self._mounts = frozenset(mounts)
        self._documents = documents
        self._warn = warn

    def fill(
        self,
        name: str,
        platform: Platform,
        folder: str,
        *,
        step: Teller,
        cancelled: threading.Event,
    ) -> bool:
        """Whether the empty `folder` has the nearest state's files now; else it is empty still.

        That a state cannot be had is a warning. Raises UserError when it is cancelled.
        """
        chosen = self._choose(name, platform)
        if chosen is None:
            return False
        reader, state = chosen
        scratch = os.path.join(os.path.dirname(folder), "fetched")
        started = time.monotonic()
        try:
            remove_tree(scratch)
            manifest = load(state, reader, self._documents).manifest
            notes = restore(
                manifest,
                reader,
                folder,
                scratch=BlobStore(scratch),
                progress=throttled(step, f"restoring cache mount {name}"),
                cancelled=cancelled,
            )
            with host_errors(folder):
                stamps_of(folder, file_stamps(folder), manifest)
        except (RemoteError, HostError) as error:
            _empty(folder)
            self._warn(
                f"cache mount {name} starts empty: its state in {reader.address} cannot be used: "
                f"{error.message}"
            )
            return False
        except BaseException:
            _empty(folder)
            raise
        finally:
            remove_tree(scratch)
        step.note(_restored(name, state, reader, manifest, time.monotonic() - started))
        if notes:
            step.note(f"cache mount {name}: this machine cannot keep {', '.join(notes[:_NAMED])}")
        return True

    def _choose(self, name: str, platform: Platform) -> tuple[CacheReader, MountState] | None:
        sources = self._sources()
        states = [state for source in sources for state in source.states]
        state = nearest(states, name=name, platform=platform, others=self._mounts - {name})
        if state is None:
            return None
        reader = next(source.reader for source in sources if state in source.states)
        return reader, state


def _restored(
    name: str, state: MountState, reader: CacheReader, manifest: MountManifest, seconds: float
) -> str:
    origin = "" if state.id == name else f" of {state.id}, the nearest state"
    return (
        f"restored cache mount {name}: {amount(manifest)}{origin} from {reader.address}"
        f" in {seconds:.1f}s"
    )


def _empty(folder: str) -> None:
    remove_tree(folder)
    os.mkdir(folder, 0o755)
