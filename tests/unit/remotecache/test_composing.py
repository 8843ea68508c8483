"""What a build says to a cache, and when that is nothing new."""

from __future__ import annotations

from lamina.cache.index import Record
from lamina.cache.memos import Memo
from lamina.layer.stack import Layer
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.remotecache.composing import USED_AGAIN, Built, compose, wanted
from lamina.remotecache.document import CachedLayer, CacheDocument
from lamina.remotecache.options import CacheOptions, Mode

NOW = 1_700_000_000.0
BASE = Layer(
    id=digest_of(b"base"),
    blob=Descriptor(media_type="x", digest=digest_of(b"base blob"), size=1),
    origin="docker.io/library/base@sha256:0",
)


def layer(name: str) -> Layer:
    return Layer(id=digest_of(name.encode()))


def record(name: str, *stack: Layer, seconds: float = 1.0, created: float = NOW) -> Record:
    return Record(
        key=digest_of(b"key" + name.encode()),
        locus=name,
        name=name,
        parts=(),
        stack=stack,
        created=created,
        last_used=created,
        seconds=seconds,
    )


def facts(each: Layer) -> CachedLayer | None:
    if each.pulled:
        return CachedLayer(id=each.id, diff_id=each.id, blob=each.blob, base=each.origin)
    return CachedLayer(id=each.id, diff_id=each.id, created=NOW)


def blob(name: str) -> Descriptor:
    return Descriptor(media_type="gzip", digest=digest_of(b"blob" + name.encode()), size=1)


BUILT = Built(
    records=(
        record("one", BASE, layer("a"), seconds=0.1),
        record("two", BASE, layer("a"), layer("b"), seconds=60.0),
        record("three", BASE, layer("c"), seconds=5.0),
    ),
    memos=(Memo(kind="selection", key=b"k", value=b"v"),),
    images=frozenset((BASE.id, layer("c").id)),
)
BLOBS = {layer(name).id: blob(name) for name in "abc"}


def said(built: Built, old: CacheDocument, *, now: float = NOW) -> CacheDocument:
    return compose(built, old, blobs=BLOBS, facts=facts, states=(), now=now)


def ids(layers: list[Layer]) -> set[Digest]:
    return {each.id for each in layers}


def test_the_mode_says_which_blobs() -> None:
    """mode=min has the layers of the final images, mode=max those of every step, none a base's."""
    assert ids(wanted(BUILT, CacheOptions(mode=Mode.MAX))) == {layer(n).id for n in "abc"}
    assert ids(wanted(BUILT, CacheOptions(mode=Mode.MIN))) == {layer("c").id}


def test_what_is_cheap_is_not_sent() -> None:
    """min-cost leaves out the layers of steps that took less."""
    options = CacheOptions(mode=Mode.MAX, min_cost=5.0)
    assert ids(wanted(BUILT, options)) == {layer("b").id, layer("c").id}


def test_saying_it_again_is_saying_the_same() -> None:
    """The same build, a minute later and in another order, gives an equal document."""
    first = said(BUILT, CacheDocument())
    other = Built(
        records=tuple(
            record(each.name, *each.stack, seconds=9.0, created=NOW + 60)
            for each in reversed(BUILT.records)
        ),
        memos=BUILT.memos,
        images=BUILT.images,
    )
    assert said(other, first, now=NOW + 60) == first


def test_a_use_after_a_day_is_remembered() -> None:
    """The cleaning of a cache goes by the last use, which is known to a day."""
    first = said(BUILT, CacheDocument())
    later = said(BUILT, first, now=NOW + USED_AGAIN)
    assert {step.used for step in later.steps} == {NOW + USED_AGAIN}
    assert {step.created for step in later.steps} == {NOW}


def test_what_this_build_did_not_do_is_left_out() -> None:
    """The single document is this build's: a step that is gone from the Dockerfile goes."""
    first = said(BUILT, CacheDocument())
    fewer = Built(records=BUILT.records[2:], images=BUILT.images)
    document = said(fewer, first)
    assert [step.name for step in document.steps] == ["three"]
    assert {each.id for each in document.layers} == {BASE.id, layer("c").id}


def test_a_step_whose_layer_is_forgotten_is_left_out() -> None:
    """Nothing is said of a result that nobody can name any more."""
    document = compose(
        BUILT,
        CacheDocument(),
        blobs={},
        facts=lambda each: None if each.id == layer("b").id else facts(each),
        states=(),
        now=NOW,
    )
    assert [step.name for step in document.steps] == ["one", "three"]
