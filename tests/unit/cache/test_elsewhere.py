"""The layer cache with external caches behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from lamina.cache.elsewhere import Found
from lamina.cache.index import Index, Record
from lamina.cache.memos import BuildMemos, Memo, known_digest
from lamina.cache.steps import StepCache
from lamina.cachekey.key import CacheKey, ListedFile, Listing, Part
from lamina.layer.stack import Layer, Stack
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.trace.verdict import Hit, KeyChanged, NeverBuilt, ResultGone

BLOB = Descriptor(media_type="application/x", digest=digest_of(b"blob"), size=4)
FULL = Layer(
    id=digest_of(b"one"), blob=BLOB, origin="cache", diff_id=digest_of(b"tar"), created=5.0, size=9
)
BARE = Layer(id=digest_of(b"one"), origin="cache", diff_id=digest_of(b"tar"), created=5.0)


def key(**parts: str) -> CacheKey:
    return CacheKey(tuple(Part(name, value) for name, value in parts.items()))


def record(wanted: CacheKey, *stack: Layer, locus: str = "here") -> Record:
    return Record(
        key=wanted.digest,
        locus=locus,
        name="RUN make",
        parts=wanted.parts,
        stack=stack,
        created=5.0,
        last_used=6.0,
        seconds=7.0,
    )


@dataclass
class Caches:
    """Two external caches, which count how often they are asked."""

    first: list[Record] = field(default_factory=list)
    second: list[Record] = field(default_factory=list)
    memos: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    asked: int = 0

    def find(self, key: Digest) -> Iterable[Found]:
        self.asked += 1
        for name, records in (("first", self.first), ("second", self.second)):
            yield from (Found(record=each, source=name) for each in records if each.key == key)

    def nearest(self, locus: str) -> Found | None:
        found = [each for each in self.first if each.locus == locus]
        return Found(record=found[-1], source="first") if found else None

    def memo(self, kind: str, key: bytes) -> bytes | None:
        self.asked += 1
        return self.memos.get((kind, key))

    def addresses(self) -> tuple[str, ...]:
        return ("first", "second")


def with_blob(stack: Stack) -> bool:
    return all(layer.blob is not None for layer in stack)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(str(tmp_path / "index.db"))


@pytest.fixture
def caches() -> Caches:
    return Caches()


@pytest.fixture
def steps(index: Index, caches: Caches) -> StepCache:
    return StepCache(index, exists=with_blob, elsewhere=caches)


def test_a_hit_from_elsewhere_says_where_it_is_from(steps: StepCache, caches: Caches) -> None:
    """The first cache that has it is named."""
    caches.first = caches.second = [record(key(a="1"), FULL)]
    assert steps.find(key(a="1")) == ((FULL,), Hit(record=key(a="1").digest, source="first"))


def test_the_next_build_asks_nobody(steps: StepCache, caches: Caches, index: Index) -> None:
    """A hit is written into the index, with all that is known of it and where its layers are."""
    caches.first = [record(key(a="1"), FULL)]
    steps.find(key(a="1"))
    again = StepCache(index, exists=with_blob, elsewhere=caches)
    caches.asked = 0
    assert again.find(key(a="1")) == ((FULL,), Hit(record=key(a="1").digest))
    assert caches.asked == 0
    kept = index.record(key(a="1").digest)
    assert kept is not None
    assert (kept.created, kept.seconds, kept.name) == (5.0, 7.0, "RUN make")
    assert index.claimed(digest_of(b"tar")) == FULL
    assert index.foreign(FULL.id) == FULL


def test_a_cache_does_not_say_what_base_images_hold(
    steps: StepCache, caches: Caches, index: Index
) -> None:
    """The layer with some diff ID is one that was made or checked here, whatever a cache says."""
    index.add_layer(digest_of(b"tar"), digest_of(b"ours"))
    other = replace(FULL, id=digest_of(b"theirs"), diff_id=digest_of(b"base"))
    caches.first = [record(key(a="1"), FULL, other)]
    steps.find(key(a="1"))
    assert index.layer_of(digest_of(b"tar")) == digest_of(b"ours")
    assert index.layer_of(digest_of(b"base")) is None


def test_a_cache_that_has_the_layers_comes_first(steps: StepCache, caches: Caches) -> None:
    """Before one that only names them."""
    caches.first, caches.second = [record(key(a="1"), BARE)], [record(key(a="1"), FULL)]
    assert steps.find(key(a="1")) == ((FULL,), Hit(record=key(a="1").digest, source="second"))


def test_a_record_here_without_layers_is_completed(
    steps: StepCache, caches: Caches, index: Index
) -> None:
    """What was removed here may be there; if not, what is known here is used."""
    StepCache(index, exists=with_blob).add(
        key(a="1"), locus="here", name="RUN make", stack=(BARE,), seconds=1
    )
    assert steps.find(key(a="1")) == ((BARE,), Hit(record=key(a="1").digest))
    caches.second = [record(key(a="1"), FULL)]
    assert steps.find(key(a="1")) == ((FULL,), Hit(record=key(a="1").digest, source="second"))


def test_a_record_whose_layers_nobody_has_is_still_known(steps: StepCache, caches: Caches) -> None:
    """The keys of the steps below can be computed from it."""
    caches.first = [record(key(a="1"), BARE)]
    assert steps.find(key(a="1")) == ((BARE,), Hit(record=key(a="1").digest, source="first"))
    assert steps.why(key(a="1"), "here") == ResultGone(record=key(a="1").digest, source="cache")


def test_a_miss_names_the_caches_that_were_asked(steps: StepCache) -> None:
    """Nobody has to guess which."""
    assert steps.find(key(a="1")) is None
    assert steps.why(key(a="1"), "here") == NeverBuilt(asked=("first", "second"))


def test_a_miss_is_explained_with_a_record_of_another_machine(
    steps: StepCache, caches: Caches
) -> None:
    """On a machine that has built nothing yet."""
    caches.first = [record(key(a="1"), FULL)]
    verdict = steps.why(key(a="2"), "here")
    assert isinstance(verdict, KeyChanged)
    assert verdict.source == "first"
    assert [change.part for change in verdict.changes] == ["a"]


def test_files_are_kept_with_an_adopted_record_where_they_are_known(
    steps: StepCache, caches: Caches, index: Index
) -> None:
    """So the next miss names files; those of layers that are not here are not fetched for it."""
    digests = digest_of(b"known"), digest_of(b"costly")
    file = ListedFile(path=b"app.py", mode=0o644, uid=0, gid=0, content=b"x")

    def costly() -> tuple[ListedFile, ...]:
        raise AssertionError("a layer was fetched")

    wanted = CacheKey(
        (Part("one", digests[0]), Part("two", digests[1])),
        (
            Listing("one", digests[0], lambda: (file,)),
            Listing("two", digests[1], costly, costly=True),
        ),
    )
    caches.first = [record(wanted, FULL)]
    steps.find(wanted)
    assert index.listing(digests[0]) == (file,)
    assert index.listing(digests[1]) is None


def test_what_a_build_used_is_known_in_its_order(steps: StepCache, caches: Caches) -> None:
    """What it found here, what it found elsewhere, and what it made."""
    caches.first = [record(key(a="1"), FULL)]
    steps.find(key(a="1"))
    steps.add(key(a="2"), locus="here", name="RUN test", stack=(FULL,), seconds=3)
    steps.add(key(a="3"), locus="here", name="RUN lint", stack=(FULL,), seconds=3)
    wanted = [key(a="2").digest, key(a="1").digest]
    assert [each.key for each in steps.used(wanted)] == wanted


def test_memos_come_from_elsewhere_once(index: Index, caches: Caches) -> None:
    """And all that were asked for are known in the end."""
    caches.memos["selection", b"there"] = b"1"
    memos = BuildMemos(index, caches)
    assert memos.memo("selection", b"there") == b"1"
    assert memos.memo("selection", b"nowhere") is None
    memos.add_memo("selection", b"new", b"2")
    assert memos.used() == (
        Memo(kind="selection", key=b"there", value=b"1"),
        Memo(kind="selection", key=b"new", value=b"2"),
    )
    caches.asked = 0
    assert BuildMemos(index, caches).memo("selection", b"there") == b"1"
    assert caches.asked == 0


@pytest.mark.parametrize("value", [b"\xff", b"", b"sha256:../../etc/passwd"])
def test_a_memo_that_is_no_digest_is_not_known(index: Index, caches: Caches, value: bytes) -> None:
    """What a cache says of a key costs some work at most; the next build has forgotten it."""
    caches.memos = {("files", b"key"): value}
    memos = BuildMemos(index, caches)
    assert known_digest(memos, "files", b"key") is None
    memos.add_memo("files", b"key", digest_of(b"a").encode())
    assert known_digest(memos, "files", b"key") == digest_of(b"a")
