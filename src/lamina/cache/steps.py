"""The layer cache: what a step with this key made before, or the reason why that is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lamina.cache.index import Index, Record
from lamina.cachekey.difference import Change, compare_listings, compare_parts
from lamina.cachekey.key import CacheKey
from lamina.layer.stack import Stack
from lamina.oci.digest import parse_digest
from lamina.trace.verdict import Hit, KeyChanged, NeverBuilt, ResultGone, Verdict


class StepCache:
    """Looks steps up in the index. `exists` says whether a result's layers are there, or can be
    had.
    """

    def __init__(self, index: Index, *, exists: Callable[[Stack], bool]) -> None:
        self._index = index
        self._exists = exists
        self._used: list[Record] = []

    def look_up(self, key: CacheKey, locus: str) -> tuple[Stack | None, Verdict]:
        """The verdict comes from the same line as the decision, so the two cannot disagree."""
        record = self._index.record(key.digest)
        if record is None:
            return None, self._why_missed(key, locus)
        if not self._exists(record.stack):
            return None, ResultGone(record=record.key)
        return self._hit(record)

    def find(self, key: CacheKey) -> tuple[Stack, Verdict] | None:
        """Only a hit, without the reason of a miss."""
        record = self._index.record(key.digest)
        return self._hit(record) if record and self._exists(record.stack) else None

    def _hit(self, record: Record) -> tuple[Stack, Verdict]:
        self._used.append(record)
        return record.stack, Hit(record=record.key)

    def add(self, key: CacheKey, *, locus: str, name: str, stack: Stack, seconds: float) -> bool:
        """Remember what a step made. True if it is what the step had made the time before."""
        before = self._index.record(key.digest) or self._index.nearest(locus)
        self._index.add(key, locus=locus, name=name, stack=stack, seconds=seconds)
        return before is not None and before.stack == stack

    def flush(self) -> None:
        """Remember which records this build used."""
        self._index.touch(self._used)
        self._used.clear()

    def _why_missed(self, key: CacheKey, locus: str) -> Verdict:
        before = self._index.nearest(locus)
        if before is None:
            return NeverBuilt()
        return KeyChanged(changes=tuple(self._changes(before, key)), record=before.key)

    def _changes(self, before: Record, key: CacheKey) -> Iterator[Change]:
        """The changes of parts, those of listings told file by file."""
        listings = {listing.part: listing for listing in key.listings}
        for change in compare_parts(before.parts, key.parts):
            listing = listings.get(change.part)
            old = (
                self._index.listing(parse_digest(change.before))
                if listing and change.before
                else None
            )
            if listing is None or old is None:
                yield change
            else:
                yield from compare_listings(old, listing.files()) or (change,)
