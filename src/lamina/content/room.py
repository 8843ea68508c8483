"""The port of whoever watches over what a store holds, and how much that is."""

from __future__ import annotations

from typing import Protocol

from lamina.oci.digest import Digest


class Room(Protocol):
    """Safe for several threads. Methods raise HostError and UserError."""

    def make(self, size: int = 0) -> None:
        """Before something is written: so many bytes, as far as that is known. May take away what
        nobody needs.
        """
        ...

    def hold(self, name: Digest) -> None:
        """This process needs a layer or blob, which nobody takes away as long as it lives."""
        ...

    def wrote(self, kind: str, name: Digest, size: int) -> None:
        """A layer or blob is there; `size` is what it takes on disk, in bytes."""
        ...


class Unwatched:
    """Nobody watches: there is always room, and nobody takes anything away."""

    def make(self, size: int = 0) -> None:
        pass

    def hold(self, name: Digest) -> None:
        pass

    def wrote(self, kind: str, name: Digest, size: int) -> None:
        pass


UNWATCHED = Unwatched()
LAYER, BLOB = "layer", "blob"
"""The kinds that `wrote` is told of."""

FULL = "make room (lamina cache prune), or choose another disk with --root"
"""The hint for a full disk."""
