"""Bounds for transfers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lamina.registry.transfers import Transfers


def test_not_more_than_the_limit_move() -> None:
    """And as many as the limit do."""
    transfers = Transfers(3)
    together = threading.Barrier(3, timeout=5)
    inside, most = 0, 0
    lock = threading.Lock()

    def move(number: int) -> None:
        nonlocal inside, most
        with transfers.moving(number):
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait()
            with lock:
                inside -= 1

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(move, range(9)))
    assert most == 3


def test_one_thread_for_one_thing() -> None:
    """The second waits for the first, even where it failed; another thing is not held up."""
    transfers = Transfers(4)
    first_is_in, go_on = threading.Event(), threading.Event()
    order = []

    def first() -> None:
        with transfers.moving("thing"):
            first_is_in.set()
            go_on.wait(5)
            order.append("first")
            raise ValueError

    def second() -> None:
        first_is_in.wait(5)
        with transfers.moving("thing"):
            order.append("second")

    with ThreadPoolExecutor(2) as pool:
        failing, waiting = pool.submit(first), pool.submit(second)
        first_is_in.wait(5)
        with transfers.moving("another"):
            order.append("another")
        go_on.set()
        waiting.result(5)
        with pytest.raises(ValueError):
            failing.result(5)
    assert order == ["another", "first", "second"]
