"""What goes from a cache, and what stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.remotecache.document import CachedLayer, CacheDocument, CachedStep, MountState
from lamina.remotecache.pruning import DAY, FoundDocument, PruneLimits, PrunePlan, plan_prune

NOW = 1000 * DAY


def blob(name: str, size: int = 10) -> Descriptor:
    return Descriptor(media_type="application/x", digest=digest_of(name.encode()), size=size)


def layer(name: str, *, size: int = 10, base: str = "", held: bool = True) -> CachedLayer:
    return CachedLayer(
        id=digest_of(b"id" + name.encode()),
        diff_id=digest_of(b"diff" + name.encode()),
        blob=blob(name, size) if held else None,
        base=base,
    )


def step(name: str, *places: int, age: float) -> CachedStep:
    """Last used `age` days ago."""
    return CachedStep(
        key=digest_of(b"key" + name.encode()),
        locus="",
        name=name,
        parts=(),
        layers=places,
        seconds=1,
        created=NOW - 500 * DAY,
        used=NOW - age * DAY,
    )


def mount(name: str, *, age: float, size: int = 10) -> MountState:
    pack = blob(f"pack {name}", size)
    saved = NOW - age * DAY
    return MountState(
        id=name, platform="linux/amd64", manifest=blob(name, 1), packs=(pack,), saved=saved
    )


CHAIN = CacheDocument(
    layers=(layer("base", size=999, base="busybox"), layer("a"), layer("b"), layer("c")),
    steps=(step("a", 0, 1, age=1), step("b", 0, 1, 2, age=1), step("c", 0, 1, 2, 3, age=1)),
)


def planned(
    *documents: CacheDocument, keep_bytes: int | None = None, keep_days: float | None = None
) -> PrunePlan:
    limits = PruneLimits(
        keep_bytes=keep_bytes, keep_seconds=None if keep_days is None else keep_days * DAY
    )
    found = [FoundDocument(name=f"d{n}", document=each) for n, each in enumerate(documents)]
    return plan_prune(found, limits, now=NOW)


def names(plan: PrunePlan) -> set[str]:
    return {each.name for found in plan.rewrite for each in found.document.steps}


def test_what_is_within_the_limits_stays_untouched() -> None:
    plan = planned(CHAIN, keep_bytes=30, keep_days=2)
    assert (plan.rewrite, plan.remove, plan.steps, plan.blobs) == ((), (), 0, ())
    assert plan.kept_bytes == 30


def test_what_is_too_old_goes_with_its_blobs() -> None:
    old = CacheDocument(
        layers=(layer("a"), layer("old")), steps=(step("a", 0, age=1), step("old", 1, age=15))
    )
    plan = planned(old, keep_days=14)
    assert names(plan) == {"a"}
    assert plan.blobs == ((digest_of(b"old"), 10),)
    assert plan.rewrite[0].document.layers == (layer("a"),)


def test_what_is_used_somewhere_is_used() -> None:
    """One job uses a record that another one's document has from long ago."""
    document = CacheDocument(layers=(layer("a"),), steps=(step("a", 0, age=99),))
    again = replace(document, steps=(step("a", 0, age=0),))
    plan = planned(document, again, keep_days=14)
    assert (plan.rewrite, plan.remove) == ((), ())


def test_the_longest_unused_goes_first() -> None:
    document = CacheDocument(
        layers=(layer("a"), layer("b"), layer("c")),
        steps=(step("a", 0, age=3), step("b", 1, age=9), step("c", 2, age=1)),
    )
    assert names(planned(document, keep_bytes=20)) == {"a", "c"}
    assert names(planned(document, keep_bytes=10)) == {"c"}


def test_of_one_day_s_records_the_top_goes_first() -> None:
    """Nothing is built on it. What lies below still saves most of the next build."""
    assert names(planned(CHAIN, keep_bytes=20)) == {"a", "b"}
    assert names(planned(CHAIN, keep_bytes=19)) == {"a"}


def test_layers_of_base_images_take_no_room() -> None:
    """They lie in their own registry."""
    assert planned(CHAIN, keep_bytes=30).kept_bytes == 30


def test_records_without_layers_are_not_in_the_way() -> None:
    """They cost nothing, so a limit of room does not touch them."""
    document = CacheDocument(
        layers=(layer("a", held=False), layer("b")),
        steps=(step("a", 0, age=99), step("b", 1, age=1)),
    )
    assert names(planned(document, keep_bytes=0)) == {"a"}


def test_cache_mounts_go_like_records() -> None:
    document = CacheDocument(
        layers=(layer("a"),),
        steps=(step("a", 0, age=5),),
        mounts=(mount("apt", age=9), mount("pip", age=1)),
    )
    plan = planned(document, keep_bytes=21)
    assert [state.id for state in plan.rewrite[0].document.mounts] == ["pip"]
    assert (plan.steps, plan.mounts) == (0, 1)
    assert {digest for digest, _ in plan.blobs} == {digest_of(b"apt"), digest_of(b"pack apt")}


def test_documents_that_others_replace_go() -> None:
    """Their content is in the other one: no blob goes with them."""
    merged = replace(CHAIN, replaces=("d0",))
    plan = planned(CHAIN, merged)
    assert (plan.remove, plan.rewrite, plan.blobs, plan.steps) == (("d0",), (), (), 0)


def test_a_document_that_says_nothing_any_more_goes() -> None:
    assert planned(CHAIN, keep_days=0.5).remove == ("d0",)


def test_blobs_that_others_need_stay() -> None:
    """Caches of several names share the blobs of a bucket."""
    found = [FoundDocument(name="d", document=CHAIN)]
    needed = frozenset({digest_of(b"a")})
    plan = plan_prune(found, PruneLimits(keep_bytes=0), now=NOW, needed=needed)
    assert {digest for digest, _ in plan.blobs} == {digest_of(b"b"), digest_of(b"c")}


SOME = st.lists(
    st.tuples(st.lists(st.integers(0, 5), max_size=4), st.integers(0, 40)), max_size=8
).map(
    lambda rows: CacheDocument(
        layers=tuple(layer(str(n), size=2**n) for n in range(6)),
        steps=tuple(step(str(n), *places, age=age) for n, (places, age) in enumerate(rows)),
    )
)


@given(st.lists(SOME, max_size=3), st.integers(0, 64), st.integers(0, 40))
def test_the_limits_hold_and_nothing_is_lost(
    documents: list[CacheDocument], keep_bytes: int, keep_days: int
) -> None:
    """Whatever there is: what stays fits, has its blobs, and is what was there."""
    plan = planned(*documents, keep_bytes=keep_bytes, keep_days=keep_days)
    after = {f"d{n}": each for n, each in enumerate(documents)}
    after.update({each.name: each.document for each in plan.rewrite})
    for name in plan.remove:
        del after[name]
    kept: dict[Digest, int] = {
        each.digest: each.size for document in after.values() for each in document.blobs()
    }
    assert sum(kept.values()) == plan.kept_bytes
    assert not kept.keys() & {digest for digest, _ in plan.blobs}
    assert plan.kept_bytes <= keep_bytes
