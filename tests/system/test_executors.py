"""Every executor keeps the contract: as root, as an ordinary user, as one with a single id."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.executor.userns import Mode, enter_user_namespace
from lamina.testing.executors import Rig, checks, make_rig
from tests.support.users import OrdinaryUser

pytestmark = pytest.mark.root

ATTACHED = """
import sys
from pathlib import Path
from lamina.testing.executors import make_rig
rig = make_rig(sys.argv[1], Path(sys.argv[2]))
spec = rig.spec("/bin/sh", "-c", sys.argv[4])
status = rig.driver.run_attached(spec, terminal=sys.argv[3] == "terminal")
rig.driver.close()
print("code", status.code)
"""


@pytest.fixture(scope="module", params=["namespaces", "oci"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    assert os.geteuid() == 0, "run these tests as root"
    made = make_rig(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    made.driver.close()


@pytest.mark.parametrize("name", list(checks()))
def test_root(rig: Rig, name: str) -> None:
    """Each check of the contract, by its name, with the process as root."""
    checks()[name](rig)


@pytest.mark.parametrize("driver", ["namespaces", "oci"])
def test_ordinary_user(user: OrdinaryUser, driver: str) -> None:
    """The whole contract holds in a user namespace with a range of subordinate ids."""
    assert not _problems(user, driver)


def test_ordinary_user_with_a_single_id(lone_user: OrdinaryUser) -> None:
    """What of the contract does not need other users holds with a single id, too."""
    assert not _problems(lone_user, "namespaces")


def _problems(user: OrdinaryUser, driver: str) -> dict[str, str]:
    place = user.home / f"rig-{driver}"
    user.run("mkdir", place).must_succeed()
    words = (*user.lamina()[:-2], "-m", "lamina.testing.executors", driver, str(place))
    ran = subprocess.run(words, capture_output=True, text=True, timeout=600, cwd="/", check=False)
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(rows) == len(checks()), ran.stderr
    return {row["check"]: row["problem"] for row in rows if row["problem"]}


def test_root_needs_no_user_namespace() -> None:
    assert enter_user_namespace().mode is Mode.NONE


@pytest.mark.parametrize("driver", ["namespaces", "oci"])
def test_attached_without_a_terminal(tmp_path: Path, driver: str) -> None:
    """The container has the caller's own streams, and its exit code comes back."""
    words = _attached(tmp_path, driver, "plain", "cat; echo oops >&2; exit 4")
    ran = subprocess.run(words, input=b"hello\n", capture_output=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == (b"hello\ncode 4\n", b"oops\n")


@pytest.mark.parametrize("driver", ["namespaces", "oci"])
def test_attached_signals_are_forwarded(tmp_path: Path, driver: str) -> None:
    """SIGTERM to the command reaches the container's first process."""
    script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    words = _attached(tmp_path, driver, "plain", script)
    with subprocess.Popen(words, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.stdout.read() == b"got\ncode 7\n"


@pytest.mark.parametrize("driver", ["namespaces", "oci"])
def test_attached_with_a_terminal(tmp_path: Path, driver: str) -> None:
    """Behind a terminal, keys go to the container, Ctrl-C is one of them, and the size is known."""
    script = "trap 'echo interrupted; exit 5' INT; stty size; read x; echo got $x; sleep 60 & wait"
    child, master = pty.fork()
    if child == 0:
        words = _attached(tmp_path, driver, "terminal", script)
        os.execv(words[0], words)
    try:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        _until(master, b"33 111")
        os.write(master, b"word\r")
        _until(master, b"got word")
        os.write(master, b"\x03")
        assert b"interrupted" in _until(master, b"code 5")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        os.close(master)


@pytest.mark.parametrize("driver", ["namespaces", "oci"])
def test_closed_terminals_end_the_container(tmp_path: Path, driver: str) -> None:
    """Who closes the window leaves no container behind, even one that does not care."""
    child, master = pty.fork()
    if child == 0:
        words = _attached(tmp_path, driver, "terminal", "trap '' HUP; echo ready; sleep 60")
        os.execv(words[0], words)
    _until(master, b"ready")
    os.close(master)
    start = time.monotonic()
    os.waitpid(child, 0)
    assert time.monotonic() - start < 30


def test_attached_terminal_needs_one(tmp_path: Path) -> None:
    words = _attached(tmp_path, "namespaces", "terminal", "true")
    ran = subprocess.run(words, input=b"", capture_output=True, timeout=60, check=False)
    assert b"-t needs a terminal" in ran.stderr


def _attached(tmp_path: Path, driver: str, mode: str, script: str) -> list[str]:
    return [sys.executable, "-c", ATTACHED, driver, str(tmp_path), mode, script]


def _until(descriptor: int, text: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + 30
    while text not in seen and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 1)[0]:
            try:
                seen += os.read(descriptor, 4096)
            except OSError:
                break
    assert text in seen, seen
    return seen
