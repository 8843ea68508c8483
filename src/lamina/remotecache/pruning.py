"""What goes when a cache in another place is cleaned: a plan, made from values alone.

Last use is what writers said. A reader writes nothing, so a cache that is only read looks as old as
its last writer left it; a writer notes when a record was of use, once a day at most.

    1. documents that another one replaces go
    2. records and cache mounts that were not of use for `keep_seconds` go
    3. of what is left, the longest unused go until the blobs have at most `keep_bytes`
    4. blobs that no document refers to any more go, where the place does not see to that itself

A record goes from all documents at once: what its last use is, is the latest that one of them says.
Of those that were last used on one day, the one furthest from the base goes first, because nothing
is built on its layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec
from msgspec.structs import replace

from lamina.oci.digest import Digest
from lamina.remotecache.document import CacheDocument, CachedStep, MountState
from lamina.remotecache.merging import pruned

DAY = 24 * 3600.0
"""Seconds."""

_Name = Digest | tuple[str, str]
"""A step by its key, a cache mount by its id and platform."""


class PruneLimits(msgspec.Struct, frozen=True, kw_only=True):
    """None is no limit."""

    keep_bytes: int | None = None
    keep_seconds: float | None = None


class FoundDocument(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    document: CacheDocument


class PrunePlan(msgspec.Struct, frozen=True, kw_only=True):
    """`rewrite` are documents as they shall be, `remove` the names of those that go as a whole.

    `steps` and `mounts` count what goes. `blobs` are those that no document refers to any more,
    with their sizes in bytes. `kept` are those that one still refers to, and `kept_bytes` is what
    this cache has of them.
    """

    rewrite: tuple[FoundDocument, ...]
    remove: tuple[str, ...]
    steps: int
    mounts: int
    blobs: tuple[tuple[Digest, int], ...]
    kept: frozenset[Digest]
    kept_bytes: int


@runtime_checkable
class DatedBlobs(Protocol):
    """A place that knows when a blob was written. One that nothing refers to may be of a writer
    that has not come to its document yet.
    """

    def blob_changed(self, digest: Digest) -> float | None:
        """In seconds since 1970; None for a blob that is not there."""
        ...


class _Candidate(msgspec.Struct, kw_only=True):
    """A record or a cache mount, wherever it stands."""

    used: float
    depth: int
    created: float
    blobs: dict[Digest, int]

    @property
    def order(self) -> tuple[float, int, float]:
        return self.used // DAY, -self.depth, self.created


def plan_prune(
    documents: Sequence[FoundDocument],
    limits: PruneLimits,
    *,
    now: float,
    needed: frozenset[Digest] = frozenset(),
) -> PrunePlan:
    """What goes from the cache that consists of these documents. `needed` are blobs that others of
    the same place refer to.
    """
    replaced = {name for each in documents for name in each.document.replaces if name != each.name}
    standing = [each for each in documents if each.name not in replaced]
    candidates = _candidates(standing)
    gone = _too_old(candidates, limits, now=now)
    gone |= _too_much({k: v for k, v in candidates.items() if k not in gone}, limits)
    rewrite, remove, kept = [], [each.name for each in documents if each.name in replaced], {}
    for each in standing:
        after = _without(each.document, gone)
        if not after.steps and not after.mounts:
            remove.append(each.name)
            continue
        kept.update({blob.digest: blob.size for blob in after.blobs()})
        if after != each.document:
            rewrite.append(FoundDocument(name=each.name, document=after))
    before = {blob.digest: blob.size for each in documents for blob in each.document.blobs()}
    return PrunePlan(
        rewrite=tuple(rewrite),
        remove=tuple(remove),
        steps=sum(isinstance(name, str) for name in gone),
        mounts=sum(isinstance(name, tuple) for name in gone),
        blobs=tuple(item for item in sorted(before.items()) if item[0] not in kept.keys() | needed),
        kept=frozenset(kept) | needed,
        kept_bytes=sum(kept.values()),
    )


def _candidates(documents: Sequence[FoundDocument]) -> dict[_Name, _Candidate]:
    found: dict[_Name, _Candidate] = {}

    def add(name: _Name, one: _Candidate) -> None:
        other = found.get(name)
        if other is None:
            found[name] = one
            return
        other.used = max(other.used, one.used)
        other.blobs |= one.blobs

    for each in documents:
        for step in each.document.steps:
            add(step.key, _of_step(each.document, step))
        for state in each.document.mounts:
            add((state.id, state.platform), _of_mount(state))
    return found


def _of_step(document: CacheDocument, step: CachedStep) -> _Candidate:
    layers = [document.layers[place] for place in step.layers]
    held = [each.blob for each in layers if each.blob is not None and not each.base]
    return _Candidate(
        used=max(step.used, step.created),
        depth=len(layers),
        created=step.created,
        blobs={blob.digest: blob.size for blob in held},
    )


def _of_mount(state: MountState) -> _Candidate:
    blobs = {blob.digest: blob.size for blob in (state.manifest, *state.packs)}
    return _Candidate(used=state.saved, depth=0, created=state.saved, blobs=blobs)


def _too_old(candidates: dict[_Name, _Candidate], limits: PruneLimits, *, now: float) -> set[_Name]:
    if limits.keep_seconds is None:
        return set()
    oldest = now - limits.keep_seconds
    return {name for name, each in candidates.items() if each.used < oldest}


def _too_much(candidates: dict[_Name, _Candidate], limits: PruneLimits) -> set[_Name]:
    """The longest unused, until what is left has its place."""
    if limits.keep_bytes is None:
        return set()
    uses: dict[Digest, int] = {}
    sizes: dict[Digest, int] = {}
    for each in candidates.values():
        sizes |= each.blobs
        for digest in each.blobs:
            uses[digest] = uses.get(digest, 0) + 1
    total, gone = sum(sizes.values()), set()
    for name, each in sorted(candidates.items(), key=lambda item: item[1].order):
        if total <= limits.keep_bytes:
            break
        if not each.blobs:
            continue  # a record alone takes no room
        gone.add(name)
        for digest in each.blobs:
            uses[digest] -= 1
            if not uses[digest]:
                total -= sizes[digest]
    return gone


def _without(document: CacheDocument, gone: set[_Name]) -> CacheDocument:
    steps = tuple(step for step in document.steps if step.key not in gone)
    mounts = tuple(each for each in document.mounts if (each.id, each.platform) not in gone)
    return pruned(replace(document, steps=steps, mounts=mounts))
