"""What is known to lie in packs: that of the earlier state, and what was packed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from lamina.layer.entry import Entry
from lamina.remotecache.mounts.manifest import (
    VERSION,
    Chunk,
    Extent,
    MountManifest,
    Pack,
)

_SMALL_PACK: Final = 1 << 20
_MOST_SMALL: Final = 16


class Part(NamedTuple):
    """`size` bytes from `offset` of the chunk with this digest."""

    chunk: bytes
    offset: int
    size: int


class Known:
    """The earlier state's packs and chunks, and the contents of both states by identity."""

    def __init__(self, earlier: MountManifest | None) -> None:
        self.packs: tuple[Pack, ...] = earlier.packs if earlier else ()
        self.contents: dict[bytes, tuple[Part, ...]] = {}
        self._chunks: dict[bytes, Chunk] = {}
        self._added: set[bytes] = set()
        if earlier is None:
            return
        for chunk in earlier.chunks:
            self._chunks.setdefault(chunk.digest, chunk)
        digests = [chunk.digest for chunk in earlier.chunks]
        for identity, extents in earlier.contents.items():
            self.contents[identity] = tuple(
                Part(digests[each.chunk], each.offset, each.size) for each in extents
            )

    def has_chunk(self, digest: bytes) -> bool:
        return digest in self._chunks or digest in self._added

    def add_chunk(self, digest: bytes) -> None:
        """It is being packed anew."""
        self._added.add(digest)

    def forget(self, packs: Collection[int]) -> None:
        """Acts as if these of the earlier packs were not there."""
        gone = {digest for digest, chunk in self._chunks.items() if chunk.pack in packs}
        for digest in gone:
            del self._chunks[digest]
        gone -= self._added
        for identity, parts in list(self.contents.items()):
            if any(part.chunk in gone for part in parts):
                del self.contents[identity]

    def used_packs(self, contents: Iterable[bytes]) -> frozenset[int]:
        """The places of the earlier packs in which something of these contents lies."""
        return frozenset(self._live(contents))

    def wasteful_packs(self, contents: Iterable[bytes]) -> frozenset[int]:
        """Earlier packs that are not worth their place for these contents: less than half of them
        is of use, or they are many and tiny.
        """
        live = self._live(contents)
        wasteful = {place for place, size in live.items() if size * 2 < self.packs[place].size}
        tiny = {place for place in live if self.packs[place].size < _SMALL_PACK}
        return frozenset(wasteful | tiny if len(tiny) > _MOST_SMALL else wasteful)

    def _live(self, contents: Iterable[bytes]) -> dict[int, int]:
        """How many stored bytes of the earlier packs are of use, by the place of the pack."""
        used: Counter[bytes] = Counter()
        for identity in contents:
            for part in self.contents[identity]:
                used[part.chunk] += part.size
        live: dict[int, int] = {}
        for digest, size in used.items():
            chunk = self._chunks.get(digest)
            if chunk is not None:
                share = chunk.stored * min(size, chunk.size) // chunk.size
                live[chunk.pack] = live.get(chunk.pack, 0) + share
        return live

    def manifest(
        self, entries: tuple[Entry, ...], *, packs: Iterable[Pack], chunks: Iterable[Chunk]
    ) -> MountManifest:
        """The manifest of a state with these entries; `packs` follow the earlier ones, `chunks`
        lie in them. Only what the entries need is in it.
        """
        wanted = sorted({entry.digest for entry in entries if entry.digest})
        needed = {part.chunk for identity in wanted for part in self.contents[identity]}
        all_packs = (*self.packs, *packs)
        found = {chunk.digest: chunk for chunk in (*chunks, *self._chunks.values())}
        kept = [chunk for digest, chunk in found.items() if digest in needed]
        kept.sort(key=lambda chunk: (chunk.pack, chunk.offset))
        places = {place: new for new, place in enumerate(sorted({each.pack for each in kept}))}
        numbers = {chunk.digest: number for number, chunk in enumerate(kept)}
        return MountManifest(
            version=VERSION,
            entries=entries,
            contents={
                identity: tuple(
                    Extent(numbers[part.chunk], part.offset, part.size)
                    for part in self.contents[identity]
                )
                for identity in wanted
            },
            chunks=tuple(
                Chunk(each.digest, places[each.pack], each.offset, each.stored, each.size)
                for each in kept
            ),
            packs=tuple(all_packs[place] for place in sorted(places)),
        )
