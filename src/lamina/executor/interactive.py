"""A container that a user sits in front of: `lamina run`, with or without a terminal.

Without one the container has the caller's own standard streams, and the signals that the caller
gets are handed on; a hang-up ends it. With one it has a pseudo terminal of its own (pty(7)); the
caller's terminal is made raw, so that every key, Ctrl-C too, goes through it, and is put back at
the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from types import FrameType

from lamina.errors import HostError, LaminaError, UsageError
from lamina.executor import wire
from lamina.executor.launcher import Launcher, Outcome, exit_status, failure

_CHUNK = 1 << 16
_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_PATIENCE = 3
"""This many Ctrl-C end a container whose first process does not listen to it."""


def attach(launcher: Launcher, job: wire.Job) -> Outcome:
    """Runs a job with the caller's streams; call it from the main thread (signal(7)).

    Raises UsageError where a terminal is asked for and standard input is none.
    """
    if job["terminal"] and not os.isatty(0):
        raise UsageError(
            "-t needs a terminal, and standard input is none",
            hint="Leave -t out; -i alone passes standard input on.",
        )
    sys.stdout.flush()
    sys.stderr.flush()
    # An OCI runtime makes the pseudo terminal itself, and takes the caller's as it is.
    ours = job["terminal"] and job["runtime"] is None
    with launcher.launch(job, 1, 2, 0) as control, _forwarding(control):
        if not job["terminal"]:
            return _follow(control)
        if not ours:
            with _raw():
                return _follow(control)
        first = wire.receive(control)
        if first != "terminal":
            return _follow(control, first=first)
        master = wire.receive_descriptors(control, 1)[0]
        with _raw(), _resizing(master):
            return _follow(control, master=master)


def _follow(control: socket.socket, *, master: int | None = None, first: object = None) -> Outcome:
    poll = select.poll()
    poll.register(control.fileno(), select.POLLIN)
    if master is not None:
        poll.register(0, select.POLLIN)
        poll.register(master, select.POLLIN)
    problem = _problem(first)
    log = b""
    while True:
        for ready, _ in poll.poll():
            if ready == master:
                if not _copy(master, 1):
                    poll.unregister(master)
                continue
            if ready == 0 and master is not None:
                if not _copy(0, master):
                    poll.unregister(0)
                    _kill(control)  # the terminal was closed: nobody is there any more
                continue
            match wire.receive(control):
                case ("exited", int(status)):
                    while master is not None and _copy(master, 1):
                        pass
                    if problem is not None:
                        raise problem
                    return Outcome(status=exit_status(status), log=log)
                case ("log", bytes(text)):
                    log = text
                case ("memory", *_):
                    continue
                case None:
                    raise problem or HostError("the sandbox was killed from outside")
                case message:
                    problem = problem or _problem(message)


def _problem(message: object) -> LaminaError | None:
    match message:
        case ("failed", str(whose), str(text), str() | None as hint, int(code)):
            return failure(whose, text, hint, code)
        case _:
            return None


def _copy(source: int, target: int) -> bool:
    """Hands one piece on. False at the end; a pseudo terminal ends with EIO."""
    try:
        data = os.read(source, _CHUNK)
        while data:
            written = os.write(target, data)
            if written == len(data):
                return True
            data = data[written:]
    except OSError:
        return False
    return False


@contextlib.contextmanager
def _forwarding(control: socket.socket) -> Iterator[None]:
    """Hands the caller's signals to the container's first process."""
    interrupts = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if number == signal.SIGHUP or interrupts >= _PATIENCE:
            _kill(control)
            return
        with contextlib.suppress(OSError):
            wire.send(control, number)

    with _handling(dict.fromkeys(_FORWARDED, forward)):
        yield


def _kill(control: socket.socket) -> None:
    with contextlib.suppress(OSError):
        wire.send(control, int(signal.SIGKILL))


@contextlib.contextmanager
def _resizing(master: int) -> Iterator[None]:
    """Keeps the pseudo terminal as large as the caller's (ioctl_tty(2))."""

    def resize(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
            fcntl.ioctl(master, termios.TIOCSWINSZ, size)

    with _handling({signal.SIGWINCH: resize}):
        resize(signal.SIGWINCH, None)
        yield


_Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, _Handler]) -> Iterator[None]:
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup(1)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Makes the caller's terminal raw (termios(3)) for a while."""
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
