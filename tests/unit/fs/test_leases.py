"""Leases: what somebody needs cannot be taken, and a dead process needs nothing."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from pathlib import Path

from lamina.fs.leases import Leases

ONE, TWO = (f"sha256:{hashlib.sha256(name).hexdigest()}" for name in (b"one", b"two"))


def test_what_is_held_cannot_be_taken(tmp_path: Path) -> None:
    """By the same process no more than by another."""
    leases, others = Leases(str(tmp_path / "leases")), Leases(str(tmp_path / "leases"))
    leases.hold(ONE)
    with leases.alone(ONE) as mine, others.alone(ONE) as theirs:
        assert not mine
        assert not theirs
    with others.alone(TWO) as alone:
        assert alone


def test_several_may_hold_the_same(tmp_path: Path) -> None:
    """It is free when the last of them has gone."""
    watcher = Leases(str(tmp_path / "leases"))
    holders = [Leases(str(tmp_path / "leases")) for _ in range(2)]
    for holder in holders:
        holder.hold(ONE)
    while holders:
        assert watcher.is_held(ONE)
        holders.pop().close()
    assert not watcher.is_held(ONE)


def test_whoever_wants_what_is_just_taken_waits_for_that(tmp_path: Path) -> None:
    """Then it sees that it is gone."""
    leases, order = Leases(str(tmp_path / "leases")), list[str]()

    def hold() -> None:
        Leases(str(tmp_path / "leases")).hold(ONE)
        order.append("held")

    thread = threading.Thread(target=hold)
    with leases.alone(ONE) as alone:
        assert alone
        thread.start()
        thread.join(0.1)
        order.append("taken")
    thread.join()
    assert order == ["taken", "held"]


def test_two_threads_do_not_take_the_same(tmp_path: Path) -> None:
    """Though both belong to the process that has the lock."""
    leases = Leases(str(tmp_path / "leases"))
    with leases.alone(ONE) as first, leases.alone(ONE) as second:
        assert first
        assert not second


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    """The kernel sees to that."""
    watcher, (told, tell) = Leases(str(tmp_path / "leases")), os.pipe()
    child = os.fork()
    if not child:
        holder = Leases(str(tmp_path / "leases"))
        holder.hold(ONE)
        os.write(tell, b".")
        signal.pause()
        os._exit(0)
    os.read(told, 1)
    assert watcher.is_held(ONE)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not watcher.is_held(ONE)
