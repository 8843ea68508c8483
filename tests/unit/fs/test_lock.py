"""Locks between processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lamina.fs.lock import lock, locked, try_lock


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def test_exclusive_and_shared(path: str) -> None:
    """One may have it exclusively, or many shared."""
    with locked(path):
        assert try_lock(path) is None
        assert try_lock(path, shared=True) is None
    first, second = try_lock(path, shared=True), try_lock(path, shared=True)
    assert first is not None
    assert second is not None
    assert try_lock(path) is None
    first.release()
    first.release()
    second.release()
    taken = try_lock(path)
    assert taken is not None
    taken.release()


def test_waiting_can_give_up(path: str) -> None:
    """Whoever waits is asked whether to go on."""
    asked: list[float] = []

    def waiting(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) < 3

    with locked(path):
        assert lock(path, waiting=waiting) is None
    assert asked == sorted(asked)
    assert len(asked) == 3


def test_waiting_ends_when_it_is_free(path: str) -> None:
    """A blocked thread goes on as soon as the lock is released."""
    got = threading.Event()

    def wait() -> None:
        with locked(path):
            got.set()

    with locked(path):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.1)
    thread.join(5)
    assert got.is_set()


def test_removed_lock_is_not_held_twice(path: str) -> None:
    """If the holder deletes the file, those who waited for it agree on a new one."""
    held = try_lock(path)
    assert held is not None
    inside: list[int] = []
    most: list[int] = []

    def wait() -> None:
        with locked(path):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    held.remove()
    for thread in threads:
        thread.join(5)
    assert most == [1] * 8


def test_killed_holder_frees_it(path: str) -> None:
    """The kernel lets go for a process that was killed."""
    program = (
        "import sys, time; from lamina.fs.lock import try_lock;"
        "held = try_lock(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", program, path]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert try_lock(path) is None
        os.kill(process.pid, signal.SIGKILL)
    taken = try_lock(path)
    assert taken is not None
    taken.release()
