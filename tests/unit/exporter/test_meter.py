from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from lamina.exporter.meter import Meter


@pytest.mark.parametrize(("total", "steps"), [(0, 0), (1, 1), (7, 7), (100_000, 100_000)])
def test_a_thing_starts_and_ends_once(total: int, steps: int) -> None:
    """With some calls between, never too many and never backwards."""
    told: list[tuple[str, int, int]] = []
    with (
        Meter(lambda *words: told.append(words), "thing", total) as meter,
        ThreadPoolExecutor(4) as pool,
    ):
        for _ in range(steps):
            pool.submit(meter.advance)
    currents = [current for _, current, _ in told]
    whole = max(total, 1)
    assert currents == sorted(set(currents))
    assert (currents[0], currents[-1]) == (0, whole)
    assert len(currents) <= 102
    assert {total for _, _, total in told} == {whole}


def test_more_than_was_announced_is_no_more_than_all() -> None:
    """Announcements are estimates."""
    told: list[int] = []
    with Meter(lambda what, current, total: told.append(current), "thing", 10) as meter:
        meter.advance(4)
        meter.advance(40)
    assert told == [0, 4, 10]


def test_a_failure_does_not_end_it() -> None:
    """It was not done."""
    told: list[int] = []

    def fail() -> None:
        with Meter(lambda what, current, total: told.append(current), "thing", 10):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert told == [0]
