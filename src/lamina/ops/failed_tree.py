"""The files of a RUN step that failed, as it left them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from lamina.errors import HostError
from lamina.executor.spec import BindMount, OverlayMount
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.stack import Stack
from lamina.oci.digest import Digest
from lamina.snapshot.store import LayerStore
from lamina.snapshot.view import TooManyLinks, View

_MOST_NAMES = 10_000


class FailedTree:
    """The files of a failed step as it left them, without what was mounted; read-only.

    Paths are absolute. What cannot be read is as if it were not there.
    """

    def __init__(self, layers: LayerStore, below: Stack, root: OverlayMount | BindMount) -> None:
        stack = [layer.id for layer in below]
        match root:
            case OverlayMount(upper=str(upper)):
                self._view = View(_Above(layers, upper), [*stack, _UPPER])
            case BindMount():
                self._view = View(_Above(layers, root.source), [_UPPER])
            case _:
                self._view = View(layers, stack)

    def entry(self, path: str) -> Entry | None:
        """What `path` leads to."""
        with suppress(OSError, HostError, TooManyLinks):
            return self._view.lookup(os.fsencode(path).strip(b"/"))
        return None

    def size(self, path: str) -> int:
        """Bytes of a file; 0 where there is none."""
        found = self.entry(path)
        return found.size if found is not None and found.kind is Kind.FILE else 0

    def names(self, path: str) -> list[bytes]:
        """What is in a directory, up to a limit; nothing where there is none."""
        found = self.entry(path)
        if found is None or found.kind is not Kind.DIRECTORY:
            return []
        with suppress(OSError, HostError, TooManyLinks):
            children: Iterable[Entry] = self._view.children(found.path)
            return [
                entry.path.rpartition(b"/")[2]
                for entry, _ in zip(children, range(_MOST_NAMES), strict=False)
            ]
        return []

    def head(self, path: str, count: int) -> bytes:
        """The first bytes of a file; b"" where there is none."""
        found = self.entry(path)
        if found is None or found.kind is not Kind.FILE:
            return b""
        with suppress(OSError, HostError, TooManyLinks):
            descriptor = self._view.open(found.path)
            with open(descriptor, "rb") as file:
                return file.read(count)
        return b""


_UPPER = Digest("sha256:" + "0" * 64)


class _Above(msgspec.Struct, frozen=True):
    """The layers of a store, and under a name of its own the directory `upper`."""

    layers: LayerStore
    upper: str

    def diff_dir(self, layer: Digest, /) -> str:
        return self.upper if layer == _UPPER else self.layers.diff_dir(layer)

    def manifest(self, layer: Digest, /) -> Manifest:
        return Manifest(()) if layer == _UPPER else self.layers.manifest(layer)

    def is_exact(self, layer: Digest, /) -> bool:
        return layer == _UPPER or self.layers.is_exact(layer)
