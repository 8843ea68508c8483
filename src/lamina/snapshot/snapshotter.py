"""The port that gives a step a writable tree and makes a layer of what it changed.

    prepare(stack) ──▶ Active ──the step runs in root──▶ commit() ──▶ layer id
                          └── end of the `with` block: whatever is left goes

Two drivers: `overlay`, where the kernel lets us mount overlays, and `copying`, where it does not.
tests/system/test_snapshots.py holds what both must do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

from lamina.layer.overlay import clear_opaque
from lamina.layer.scan import Diff, read_diff
from lamina.layer.stack import Stack
from lamina.oci.digest import Digest
from lamina.snapshot.store import LayerStore, WorkDir, host_errors
from lamina.snapshot.view import View

if TYPE_CHECKING:
    from concurrent.futures import Executor


class OverlayRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A tree to be mounted: `lower` directories, highest first, under the writable `upper`."""

    lower: tuple[str, ...]
    upper: str
    work: str


class PlainRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A tree that is there already, at `path`."""

    path: str


Root = OverlayRoot | PlainRoot


class Active(Protocol):
    """A writable tree. It is removed at the end of its `with` block."""

    @property
    def root(self) -> Root: ...

    def commit(self) -> Digest:
        """Makes a layer of what changed and returns its id; the tree is of no use afterwards.

        Where nothing changed it is the empty layer. A directory whose time alone changed has not
        changed. Nothing may be mounted from the tree any more. Raises HostError.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Snapshotter(Protocol):
    """Makes writable trees. Safe for several threads."""

    def prepare(self, stack: Stack) -> Active:
        """The tree of `stack` (lowest first), whose layers are all unpacked. Raises HostError."""
        ...


def view_of(store: LayerStore, stack: Stack) -> View:
    """The tree of a stack whose layers are all unpacked."""
    return View(store, tuple(layer.id for layer in stack))


def commit_diff(
    store: LayerStore, work: WorkDir, lower: View, *, hash_pool: Executor | None
) -> Digest:
    """Makes a layer of the work directory's `diff`, which lies on `lower`. Raises HostError."""
    diff = read_diff(work.diff, lower=lower.entry, hash_pool=hash_pool, contents=store.contents)
    with host_errors(work.diff):
        _tidy(os.fsencode(work.diff), diff)
    return store.publish(work, diff.manifest)


def _tidy(root: bytes, diff: Diff) -> None:
    """The directory says the same as its manifest afterwards."""
    for path in diff.transparent:
        clear_opaque(root + b"/" + path)
    for path in diff.dropped:
        name = root + b"/" + path
        try:
            os.unlink(name)
        except IsADirectoryError:
            os.rmdir(name)
