"""Several documents as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.remotecache.document import CachedLayer, CacheDocument, CachedStep
from lamina.remotecache.merging import merge, pruned, says_all


def layer(name: str, *, blob: bool = True) -> CachedLayer:
    held = Descriptor(media_type="x", digest=digest_of(name.encode()), size=1) if blob else None
    return CachedLayer(id=digest_of(f"id{name}".encode()), diff_id=digest_of(b""), blob=held)


def step(name: str, *places: int, created: float = 0.0, used: float = 0.0) -> CachedStep:
    return CachedStep(
        key=digest_of(name.encode()),
        locus=name,
        name=name,
        parts=(),
        layers=places,
        seconds=1.0,
        created=created,
        used=used,
    )


def stacks(document: CacheDocument) -> dict[str, list[Digest]]:
    return {
        each.name: [document.layers[place].id for place in each.layers] for each in document.steps
    }


names = st.sampled_from("abcdef")
documents = st.lists(
    st.lists(st.tuples(names, st.lists(names, min_size=1, max_size=3)), max_size=5), max_size=4
)


def made(steps: list[tuple[str, list[str]]]) -> CacheDocument:
    every = sorted({name for _, stack in steps for name in stack})
    return CacheDocument(
        layers=tuple(layer(name) for name in every),
        steps=tuple({n: step(n, *(every.index(each) for each in s)) for n, s in steps}.values()),
    )


@given(documents)
def test_nothing_is_lost(given_documents: list[list[tuple[str, list[str]]]]) -> None:
    """Every step of every document is in the whole, on layers that it had in one of them."""
    each = [made(steps) for steps in given_documents]
    whole = stacks(merge(each))
    for name, stack in whole.items():
        assert any(stacks(one).get(name) == stack for one in each)
    assert set(whole) == {name for one in each for name in stacks(one)}


@given(documents)
def test_merging_again_changes_nothing(each: list[list[tuple[str, list[str]]]]) -> None:
    """What was merged is merged."""
    whole = merge([made(steps) for steps in each])
    assert merge([whole, whole]) == whole
    assert merge([whole]) == whole


def test_the_newer_record_counts() -> None:
    """Of two results of one key the later one is taken, and the later use is remembered."""
    old = CacheDocument(layers=(layer("a"),), steps=(step("s", 0, created=1.0, used=9.0),))
    new = CacheDocument(layers=(layer("b"),), steps=(step("s", 0, created=2.0, used=3.0),))
    for order in ([old, new], [new, old]):
        whole = merge(order)
        assert stacks(whole) == stacks(new)
        assert whole.steps[0].used == 9.0


def test_a_layer_without_a_blob_gets_that_of_its_equal() -> None:
    """What one writer sent serves the records of all."""
    bare = CacheDocument(layers=(layer("a", blob=False),), steps=(step("s", 0, created=2.0),))
    full = CacheDocument(layers=(layer("a"),), steps=(step("t", 0),))
    (only,) = merge([bare, full]).layers
    assert only.blob is not None


def test_layers_that_no_step_has_are_left_out() -> None:
    """A document keeps no layer that nobody can ask for."""
    document = CacheDocument(
        layers=(layer("a"), layer("b"), layer("c")), steps=(step("s", 2), step("t", 0, 2))
    )
    assert pruned(document).layers == (layer("a"), layer("c"))
    assert stacks(pruned(document)) == stacks(document)


def test_a_later_use_is_something_new() -> None:
    """A record that was used again is written again: the cleaning goes by that."""
    before = CacheDocument(layers=(layer("a"),), steps=(step("s", 0, used=1.0),))
    after = CacheDocument(layers=(layer("a"),), steps=(step("s", 0, used=2.0),))
    assert says_all(after, [before])
    assert not says_all(before, [after])
