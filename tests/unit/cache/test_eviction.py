"""The plan of what goes first: by values alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lamina.cache.eviction import Item, Kind, Limits, Why, plan

NOW = 1_000_000.0
HOUR = 3600.0
ITEM = Item(kind=Kind.STEP, name="a", size=100, used=NOW - HOUR, seconds=1.0)


def names(items: list[Item], limits: Limits, *, room: int = 0, everything: bool = False) -> str:
    """The names of what goes, in order."""
    total = sum(item.size for item in items)
    made = plan(items, limits, total=total, now=NOW, room=room, everything=everything)
    return "".join(going.item.name for going in made.going)


def test_without_limits_only_what_nothing_refers_to_goes() -> None:
    """Everything else may be of use."""
    assert names([ITEM, replace(ITEM, name="b", useless=True)], Limits()) == "b"


def test_what_is_cheaper_per_byte_goes_first() -> None:
    """A second of work for a gigabyte is worth less than one for a kilobyte."""
    large = replace(ITEM, name="b", size=1000)
    assert names([ITEM, large], Limits(max_size=100)) == "b"


def test_what_is_longer_unused_goes_first() -> None:
    """Of two that cost the same."""
    older = replace(ITEM, name="b", used=NOW - 2 * HOUR)
    assert names([ITEM, older], Limits(max_size=100)) == "b"


def test_an_expensive_step_outlives_a_fresh_cheap_one() -> None:
    """An hour's compilation of yesterday is worth more than a COPY of a minute ago."""
    compiler = replace(ITEM, name="c", seconds=HOUR, used=NOW - 24 * HOUR)
    copied = replace(ITEM, name="k", seconds=0.1, used=NOW - 60)
    assert names([compiler, copied], Limits(max_size=100)) == "k"


def test_a_replaced_result_goes_before_the_one_that_replaced_it() -> None:
    """Though both cost the same."""
    assert names([ITEM, replace(ITEM, name="b", replaced=True)], Limits(max_size=100)) == "b"


def test_of_equals_the_upper_layer_goes_first() -> None:
    """Nothing stands on it."""
    assert names([ITEM, replace(ITEM, name="b", depth=3)], Limits(max_size=100)) == "b"


def test_what_was_not_used_for_too_long_goes_though_there_is_room() -> None:
    """Age and size are limits of their own."""
    old = replace(ITEM, name="b", used=NOW - 48 * HOUR, seconds=1e9)
    assert names([ITEM, old], Limits(max_size=10_000, keep_seconds=24 * HOUR)) == "b"


def test_everything_is_all_but_what_is_needed() -> None:
    """`--all` does not break a running build."""
    needed = replace(ITEM, name="n", needed="a running build", useless=True)
    assert names([ITEM, needed], Limits(), everything=True) == "a"


SOME = st.builds(
    Item,
    kind=st.just(Kind.STEP),
    name=st.uuids().map(str),
    size=st.integers(0, 1000),
    used=st.floats(0, NOW),
    seconds=st.floats(0, 100),
    useless=st.booleans(),
    needed=st.sampled_from(["", "", "image app"]),
)


@given(st.lists(SOME, max_size=20), st.integers(0, 5000), st.integers(0, 2000))
def test_a_plan_keeps_the_limit_or_says_what_is_lacking(
    items: list[Item], max_size: int, room: int
) -> None:
    """It never takes what is needed, nor one thing more than it must."""
    total = sum(item.size for item in items)
    made = plan(items, Limits(max_size=max_size), total=total, now=NOW, room=room)
    left = total + room - made.freed
    assert not any(going.item.needed for going in made.going)
    assert left <= max_size + made.lacking
    for_room = [going for going in made.going if going.why is Why.ROOM]
    if made.lacking:
        assert len(made.going) == sum(not item.needed for item in items)
    elif for_room:
        assert left + for_room[-1].item.size > max_size
