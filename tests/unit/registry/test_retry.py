"""When to try again."""

from __future__ import annotations

import pytest

from lamina.content.errors import NotFound
from lamina.errors import RemoteError
from lamina.registry.errors import ServerFailed, TooManyRequests
from lamina.registry.retry import LONGEST_WAIT, Backoff

FAILED = ServerFailed("x", retryable=True)


def never() -> float:
    return 0.0


def test_pauses_grow_and_end() -> None:
    """Each pause is twice the one before; the last failure comes out."""
    slept: list[float] = []
    backoff = Backoff(sleep=slept.append, random=never, limit=4)
    waits = []
    for _ in range(3):
        slept.clear()
        backoff.wait(FAILED)
        waits.append(sum(slept))
    assert waits == [0.25, 0.5, 1.0]
    with pytest.raises(ServerFailed):
        backoff.wait(FAILED)


def test_progress_starts_the_count_again() -> None:
    """What gets on a bit each time is never given up."""
    backoff = Backoff(sleep=lambda _: None, limit=2)
    for _ in range(20):
        backoff.progressed()
        backoff.wait(FAILED)


def test_the_registry_says_how_long() -> None:
    """Retry-After wins over our own pauses, up to a limit."""
    slept: list[float] = []
    Backoff(sleep=slept.append, random=never).wait(TooManyRequests("x", retry_after=7))
    assert sum(slept) == 7
    with pytest.raises(TooManyRequests):
        Backoff(sleep=slept.append).wait(TooManyRequests("x", retry_after=LONGEST_WAIT + 1))
    assert sum(slept) == 7


@pytest.mark.parametrize(
    ("error", "least", "most"), [(FAILED, 0.25, 0.5), (TooManyRequests("x", retry_after=8), 8, 10)]
)
def test_many_do_not_come_back_at_once(error: RemoteError, least: float, most: float) -> None:
    """Chance makes a pause longer, never shorter than it has to be."""

    def slept(chance: float) -> float:
        pauses: list[float] = []
        Backoff(sleep=pauses.append, random=lambda: chance).wait(error)
        return sum(pauses)

    assert slept(0.0) == least
    assert slept(1.0) == most
    assert least < slept(0.5) < most


@pytest.mark.parametrize("error", [NotFound("x"), ServerFailed("x", retryable=False)])
def test_what_will_not_change_is_not_tried_again(error: RemoteError) -> None:
    """Such an error comes out at once."""
    with pytest.raises(RemoteError):
        Backoff(sleep=lambda _: pytest.fail("slept")).wait(error)


def test_a_wait_can_be_ended() -> None:
    """An interrupted pull does not sit out the registry's minute."""

    class Stop(BaseException):
        pass

    def alive() -> None:
        raise Stop

    with pytest.raises(Stop):
        Backoff(sleep=lambda _: pytest.fail("slept")).wait(FAILED, alive=alive)
