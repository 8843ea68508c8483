"""The store on disk: where everything is that outlives a build.

ROOT/images/    an OCI image layout: names, manifests, configurations, pulled and exported blobs
     layers/    unpacked layers and their manifests
     making/    layers that are being made
     index.db   key → record, and what was computed from layers
     mounts/    cache mounts
     contexts/  digests of context files by their stat
     history/   a folder a build: its record, and the outputs of its steps
     logs/      tracebacks of our own failures
     ballast    a little room for the day when the disk is full
     leases     locked bytes: what running processes need (`fs.leases`)
     locks/     one file a step that runs, or layer that is unpacked
     executor/  the sandbox's own
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping

import msgspec

from lamina.cache.index import Index
from lamina.cache.mounts import CacheMounts
from lamina.content.images import ImageStore
from lamina.content.store import BlobStore
from lamina.control.keeping.space import Space
from lamina.errors import HostError
from lamina.fs.lock import lock
from lamina.oci.digest import Digest, encoded
from lamina.snapshot.store import LayerStore


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a store, opened."""

    root: str
    blobs: BlobStore
    images: ImageStore
    layers: LayerStore
    index: Index
    mounts: CacheMounts
    space: Space

    def folder(self, name: str) -> str:
        """The path of a folder in the store, which is made where it is missing."""
        path = os.path.join(self.root, name)
        os.makedirs(path, exist_ok=True)
        return path


def open_store(root: str, environ: Mapping[str, str] = os.environ) -> Store:
    """Open a store, making it where there is none. Raises HostError.

    `environ` tells where the settings are that bound it.
    """
    root = os.path.abspath(root)
    try:
        for name in ("", "mounts", "contexts", "history", "locks", "executor"):
            os.makedirs(os.path.join(root, name), mode=0o711 if not name else 0o700, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"cannot use the store {root}: {error.strerror}",
            hint="choose another place with --root or LAMINA_ROOT",
        ) from None
    index = Index(os.path.join(root, "index.db"))
    space = Space(root, index, environ)
    blobs = BlobStore(os.path.join(root, "images"), room=space)
    return Store(
        root=root,
        blobs=blobs,
        images=ImageStore(blobs),
        layers=LayerStore(root, room=space),
        index=index,
        mounts=CacheMounts(os.path.join(root, "mounts"), before=space.before_mount),
        space=space,
    )


class KeyLocks(msgspec.Struct, frozen=True):
    """One builder at a time runs the step with a key (solver.port.SingleFlight)."""

    folder: str

    @contextlib.contextmanager
    def __call__(
        self, key: Digest, *, waiting: Callable[[], None], cancelled: threading.Event
    ) -> Iterator[None]:
        told = False

        def wait(seconds: float) -> bool:
            nonlocal told
            if not told:
                waiting()
                told = True
            return not cancelled.is_set()

        taken = lock(os.path.join(self.folder, encoded(key)), waiting=wait)
        try:
            yield
        finally:
            if taken is not None:
                taken.remove()
