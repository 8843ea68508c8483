"""What external caches answer, as the layer cache asks them. Their drivers are in `remotecache`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from lamina.cache.index import Record
from lamina.oci.digest import Digest


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A record of an external cache. `source` is its address, as messages show it."""

    record: Record
    source: str


class Elsewhere(Protocol):
    """The external caches of a build, in the order in which they are asked.

    They may still be loading: the first question waits for that. A cache that cannot be read has
    given a warning by then, and knows nothing. No method raises.
    """

    def find(self, key: Digest) -> Iterable[Found]:
        """The records with exactly this key, the first cache's first."""
        ...

    def nearest(self, locus: str) -> Found | None:
        """The latest record of a step, whatever its key is."""
        ...

    def memo(self, kind: str, key: bytes) -> bytes | None:
        """What was computed from layers alone (`cache.memos`)."""
        ...

    def addresses(self) -> tuple[str, ...]:
        """The caches that were read."""
        ...
