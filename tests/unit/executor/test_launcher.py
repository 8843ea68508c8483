"""What the builder makes of what a step's process says."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from lamina.errors import HostError, InternalError
from lamina.executor import launcher, oci, wire
from lamina.executor.spec import ExitStatus


def test_exit_status() -> None:
    """wait(2)'s status becomes a code, or 128 and the signal."""
    assert launcher.exit_status(3 << 8) == ExitStatus(code=3)
    assert launcher.exit_status(signal.SIGKILL) == ExitStatus(code=137, signal=9)


def test_failures_by_fault() -> None:
    missing = launcher.failure("user", 'exec: "x": not found', "a hint", 127)
    assert isinstance(missing, launcher.CannotStart)
    assert (missing.exit_status, missing.hint, missing.exit_code) == (127, "a hint", 1)
    assert isinstance(launcher.failure("host", "no", None, 1), HostError)
    assert isinstance(launcher.failure("bug", "no", None, 70), InternalError)


def test_messages_cross_a_socket() -> None:
    """Messages and descriptors arrive as they were sent; a closed socket is the end."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            wire.send(theirs, {"a": (b"\xff", "\udcff", None, 2**70)})
            wire.send_descriptors(theirs, [theirs.fileno(), ours.fileno()])
            assert wire.receive(ours) == {"a": (b"\xff", "\udcff", None, 2**70)}
            received = wire.receive_descriptors(ours, 4)
            assert len(received) == 2
            for number in received:
                assert not os.get_inheritable(number)
                os.close(number)
        assert wire.receive(ours) is None
        assert wire.receive_descriptors(ours, 4) == []


def test_half_a_message_is_the_end() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(b"\x10\0\0\0half")
        assert wire.receive(ours) is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('runc run failed: container process: exec: "/x": no such file or directory', 127),
        ('unable to start container process: exec: "x": executable file not found in $PATH', 127),
        ("executable file `x` not found in $PATH: No such file or directory", 127),
        ('unable to start container process: exec: "/x": permission denied', 126),
        ("exec /x: exec format error", 126),
        ("unable to apply cgroup configuration: permission denied", None),
    ],
)
def test_complaints_of_runtimes(text: str, status: int | None) -> None:
    """A missing or unusable command is the user's error; all else is the machine's."""
    error = oci.complaint(text, "runc")
    if status is None:
        assert isinstance(error, HostError)
        return
    assert isinstance(error, launcher.CannotStart)
    assert error.exit_status == status
