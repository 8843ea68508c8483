"""The snapshotter that lets the kernel merge the layers: overlayfs.

Preparing costs one empty directory; what a step changed is what lies in it afterwards.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import msgspec

from lamina.layer.stack import Stack
from lamina.layer.writing import DiffWriter
from lamina.oci.digest import Digest
from lamina.snapshot.snapshotter import OverlayRoot, commit_diff, view_of
from lamina.snapshot.store import LayerStore, WorkDir, host_errors
from lamina.snapshot.view import View

if TYPE_CHECKING:
    from concurrent.futures import Executor


class OverlaySnapshotter(msgspec.Struct, frozen=True):
    """Layers of `store` under an upper directory; `hash_pool` hashes large files."""

    store: LayerStore
    hash_pool: Executor | None = None

    def prepare(self, stack: Stack) -> OverlayActive:
        view = view_of(self.store, stack)
        work = self.store.work()
        try:
            with host_errors(work.diff):
                _copy_root(view, work)
        except BaseException:
            work.close()
            raise
        # Nothing shows through an opaque root, and overlayfs does not know of such a thing.
        lower = tuple(os.fsdecode(path) for path in view.roots())
        root = OverlayRoot(lower=lower, upper=work.diff, work=work.work)
        return OverlayActive(self, work, view, root)


class OverlayActive:
    """An upper directory over the layers of a stack."""

    def __init__(
        self, snapshotter: OverlaySnapshotter, work: WorkDir, view: View, root: OverlayRoot
    ) -> None:
        self._snapshotter = snapshotter
        self._work = work
        self._view = view
        self._root = root

    @property
    def root(self) -> OverlayRoot:
        return self._root

    def commit(self) -> Digest:
        store, pool = self._snapshotter.store, self._snapshotter.hash_pool
        return commit_diff(store, self._work, self._view, hash_pool=pool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._work.close()


def _copy_root(view: View, work: WorkDir) -> None:
    """The root of an overlay looks like that of its upper directory."""
    root = view.entry(b"")
    if root is None:
        return
    writer = DiffWriter(os.fsencode(work.diff))
    try:
        writer.complete_directory(root, opaque=False)
    finally:
        writer.close()
