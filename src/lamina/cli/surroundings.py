"""The process as it was started: streams, environment, working directory, signals."""

from __future__ import annotations

import os
import signal
from types import FrameType

from lamina.cli.command import Session
from lamina.cli.store_root import default_root


def open_session() -> Session:
    """The surroundings of this process. Standard error is not buffered: whole blocks go there."""
    environ = dict(os.environ)
    try:
        cwd = os.getcwd()
    except FileNotFoundError:
        cwd = "/"
    return Session(
        environ=environ,
        stdin=open(0, "rb", closefd=False),
        stdout=open(1, "wb", closefd=False),
        stderr=open(2, "wb", buffering=0, closefd=False),
        cwd=cwd,
        root=default_root(environ, uid=os.geteuid()),
    )


def stop_on_sigterm() -> None:
    """End on SIGTERM and SIGHUP as on Ctrl-C: steps are killed and nothing stays mounted."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _terminated)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(128 + number)


def ignore_interrupts() -> None:
    """Nothing is left to stop: an impatient user's next Ctrl-C must not spoil the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
