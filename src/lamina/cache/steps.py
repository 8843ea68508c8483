"""The layer cache: what a step with this key made before, or the reason why that is not known.

    key ──▶ index ──▶ external caches, in their order ──▶ not known: why?
              ▲                 │
              └── what was found there is written here: the next build asks nobody

A record tells what a step's layers *were* even where they cannot be had any more. That is enough to
compute the keys of the steps below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lamina.cache.elsewhere import Elsewhere, Found
from lamina.cache.index import Index, Record
from lamina.cachekey.difference import Change, compare_listings, compare_parts
from lamina.cachekey.key import CacheKey
from lamina.layer.stack import Stack
from lamina.oci.digest import Digest, parse_digest
from lamina.trace.verdict import Hit, NeverBuilt, ResultGone, Verdict, key_changed


class StepCache:
    """Looks steps up in the index, then in external caches. Safe for several threads.

    `exists` says whether a result's layers are here, or can be fetched. `added` is told of every
    record that is made, `runs` of every step that has to run: what it made the time before. `found`
    is told of every result that this build may need.
    """

    def __init__(
        self,
        index: Index,
        *,
        exists: Callable[[Stack], bool],
        elsewhere: Elsewhere | None = None,
        added: Callable[[Record], None] | None = None,
        runs: Callable[[Record | None], None] | None = None,
        found: Callable[[Stack], None] | None = None,
    ) -> None:
        self._found = found
        self._added = added
        self._runs = runs
        self._index = index
        self._exists = exists
        self._elsewhere = elsewhere
        self._records: dict[Digest, Record] = {}

    def find(self, key: CacheKey) -> tuple[Stack, Verdict] | None:
        """What is known under exactly this key; one whose layers can be had, if there is one."""
        record = self._index.record(key.digest)
        if self._elsewhere is None or (record is not None and self._exists(record.stack)):
            return None if record is None else self._hit(record, "")
        candidates = tuple(self._elsewhere.find(key.digest))
        best = next((found for found in candidates if self._exists(found.record.stack)), None)
        if best is None and record is not None:
            return self._hit(record, "")
        best = best or next(iter(candidates), None)
        return None if best is None else self._adopt(best, key)

    def available(self, stack: Stack) -> bool:
        """Whether a result's layers are here, or can be fetched."""
        return self._exists(stack)

    def why(self, key: CacheKey, locus: str) -> Verdict:
        """Why a step has to run; to be asked when the files of its inputs are at hand."""
        known = self._records.get(key.digest)
        if self._runs is not None:
            self._runs(known or self._index.nearest(locus))
        if known is not None:
            return ResultGone(record=known.key, source=self._lost(known.stack))
        asked = self._elsewhere.addresses() if self._elsewhere is not None else ()
        before = self._nearest(locus)
        if before is None:
            return NeverBuilt(asked=asked)
        return key_changed(
            tuple(self._changes(before.record, key)),
            record=before.record.key,
            source=before.source,
            asked=asked,
        )

    def add(self, key: CacheKey, *, locus: str, name: str, stack: Stack, seconds: float) -> bool:
        """Remember what a step made. True if it is what the step had made the time before."""
        before = self._index.record(key.digest) or self._index.nearest(locus)
        record = self._index.add(key, locus=locus, name=name, stack=stack, seconds=seconds)
        self._records[key.digest] = record
        if self._added is not None:
            self._added(record)
        return before is not None and _same(before.stack, stack)

    def used(self, keys: Iterable[Digest]) -> tuple[Record, ...]:
        """The records that this build found or made under the keys, in their order."""
        return tuple(self._records[key] for key in keys if key in self._records)

    def flush(self) -> None:
        """Remember in the index which records this build used."""
        self._index.touch(self._records.values())

    def _hit(self, record: Record, source: str) -> tuple[Stack, Verdict]:
        self._records[record.key] = record
        if self._found is not None:
            self._found(record.stack)
        return record.stack, Hit(record=record.key, source=source)

    def _adopt(self, found: Found, key: CacheKey) -> tuple[Stack, Verdict]:
        """Take a record from elsewhere into the index, with its files where they are known."""
        self._index.adopt(found.record, [each for each in key.listings if not each.costly])
        return self._hit(found.record, found.source)

    def _lost(self, stack: Stack) -> str:
        """Where the first layer that cannot be had should have come from; "" for one of ours."""
        return next((layer.origin for layer in stack if not self._exists((layer,))), "")

    def _nearest(self, locus: str) -> Found | None:
        here = self._index.nearest(locus)
        if here is not None:
            return Found(record=here, source="")
        return self._elsewhere.nearest(locus) if self._elsewhere is not None else None

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
                files = compare_listings(old, listing.files(), within=change.part)
                yield from files or (change,)


def _same(one: Stack, other: Stack) -> bool:
    return [layer.id for layer in one] == [layer.id for layer in other]
