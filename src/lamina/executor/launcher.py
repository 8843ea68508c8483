"""The builder's end: starts the zygote, hands it jobs, and follows a step until it is over."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lamina.errors import HostError, InternalError, LaminaError, UserError
from lamina.executor import wire
from lamina.executor.spec import ExitStatus, OutputSink

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from lamina.executor import shield; shield.boot(int(sys.argv[2]))"
)
_CHUNK = 1 << 16
_TICK_MS = 50


class CannotStart(UserError):
    """The image does not have the command, the user or the directory that a step asks for.

    `exit_status` is what a shell would exit with: 127 for what is missing, 126 for what cannot be
    used.
    """

    def __init__(self, message: str, *, exit_status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a step ended, and the log of the OCI runtime, if one had a part in it.

    `memory` is what the step's own control groups, if it has any, have counted: kills for lack of
    memory, and the most bytes in use.
    """

    status: ExitStatus
    log: bytes
    memory: tuple[int, int] | None = None


class Launcher:
    """Starts steps from several threads at once. The zygote starts with the first of them."""

    def __init__(self, *, seccomp: Callable[[], bytes | None]) -> None:
        self._seccomp = seccomp
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._greeted = False

    def prepare(self) -> None:
        """Starts the zygote without waiting for it."""
        with self._lock:
            self._start()

    def _start(self) -> socket.socket:
        if self._channel is not None:
            return self._channel
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            source = str(Path(__file__).resolve().parents[2])
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, source, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
                # Some interpreters find their own library only with it.
                env={key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ},
            )
        wire.send(ours, {"seccomp": self._seccomp()})
        self._channel = ours
        return ours

    def launch(self, job: wire.Job, *streams: int) -> socket.socket:
        """Starts a step; the socket that controls it. `streams` are the descriptors of standard
        output and error, and of input where somebody is attached.

        The step ends when the socket is closed. Raises HostError where the zygote is gone.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                with self._lock:
                    wire.send_descriptors(self._ready(), [theirs.fileno(), *streams])
            except OSError as error:
                ours.close()
                raise self._gone() from error
        try:
            wire.send(ours, job)
        except OSError as error:
            ours.close()
            raise self._gone() from error
        return ours

    def _ready(self) -> socket.socket:
        """The channel to a zygote that has said that it can work here."""
        channel = self._start()
        if not self._greeted:
            match wire.receive(channel):
                case "ready":
                    self._greeted = True
                case ("failed", str(whose), str(message), hint, int(code)):
                    raise failure(whose, message, hint, code)
                case _:
                    raise self._gone()
        return channel

    def _gone(self) -> HostError:
        return HostError(
            "the process that starts the steps has ended",
            hint="It was killed, or cannot run here: a Python that needs more than its own files?",
        )

    def run(self, job: wire.Job, *, output: OutputSink, cancelled: threading.Event) -> Outcome:
        """Runs a step to its end, whatever happens here meanwhile."""
        pipes = {}
        with contextlib.ExitStack() as stack:
            ends = []
            for stream in (1, 2):
                reading, writing = os.pipe()
                stack.callback(os.close, reading)
                os.set_blocking(reading, False)
                pipes[reading] = stream
                ends.append(writing)
            try:
                control = self.launch(job, *ends)
            finally:
                for writing in ends:
                    os.close(writing)
            stack.callback(control.close)
            stack.callback(_outlive, control)
            follower = _Follower(control, pipes, output)
            follower.follow(cancelled)
            return Outcome(status=follower.result(), log=follower.log, memory=follower.memory)

    def close(self) -> None:
        """Ends the zygote. Steps that still run end when their sockets are closed."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None
                self._greeted = False
            if self._process is not None:
                self._process.wait()
                self._process = None


class _Follower:
    """Reads what a step writes and what its supervisor says, until the supervisor hangs up."""

    def __init__(self, control: socket.socket, pipes: dict[int, int], output: OutputSink) -> None:
        self._control = control
        self._pipes = pipes
        self._output = output
        self._failure: LaminaError | None = None
        self._status: int | None = None
        self.log = b""
        self.memory: tuple[int, int] | None = None

    def follow(self, cancelled: threading.Event) -> None:
        poll = select.poll()
        for descriptor in (*self._pipes, self._control.fileno()):
            poll.register(descriptor, select.POLLIN)
        killed = False
        while True:
            if cancelled.is_set() and not killed:
                killed = True
                with contextlib.suppress(OSError):
                    wire.send(self._control, int(signal.SIGKILL))
            for ready, _ in poll.poll(_TICK_MS):
                if ready != self._control.fileno():
                    if not self._forward(ready):
                        poll.unregister(ready)
                    continue
                if not self._listen():
                    # All that could write is dead; what it wrote is in the pipes.
                    for descriptor in self._pipes:
                        while self._forward(descriptor):
                            pass
                    return

    def _forward(self, descriptor: int) -> bool:
        """Hands one piece on. False where there is nothing (more) to read."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._output(self._pipes[descriptor], data)
        return bool(data)

    def _listen(self) -> bool:
        """False where the supervisor has nothing more to say."""
        match wire.receive(self._control):
            case ("exited", int(status)):
                self._status = status
                return False
            case ("failed", str(whose), str(message), hint, int(code)):
                self._failure = self._failure or failure(whose, message, hint, code)
                return True
            case ("log", bytes(log)):
                self.log = log
                return True
            case ("memory", int(kills), int(peak)):
                self.memory = kills, peak
                return True
            case _:
                return False

    def result(self) -> ExitStatus:
        if self._failure is not None:
            raise self._failure
        if self._status is None:
            raise HostError("the sandbox of the step was killed from outside")
        return exit_status(self._status)


def failure(whose: str, message: str, hint: str | None, code: int) -> LaminaError:
    """The error that a step's process has reported."""
    if whose == "user":
        return CannotStart(message, exit_status=code, hint=hint)
    if whose == "host":
        return HostError(f"the sandbox cannot be set up: {message}", hint=hint)
    return InternalError(f"the sandbox failed: {message}")


def exit_status(status: int) -> ExitStatus:
    """From what wait(2) gives."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ExitStatus(code=128 + number, signal=number)
    return ExitStatus(code=os.waitstatus_to_exitcode(status))


def _outlive(control: socket.socket) -> None:
    """Waits until the step's supervisor, told to kill by the closing of our side, is done."""
    with contextlib.suppress(OSError):
        control.shutdown(socket.SHUT_WR)
    while wire.receive(control) is not None:
        pass
