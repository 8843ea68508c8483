"""What a command costs: wall-clock time, processor time, and the memory of all its processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.02  # seconds between two looks at the memory
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """`seconds` and `cpu` in seconds, `memory` in bytes: the peak of the sum over all processes.

    Memory that processes share is counted in each of them, so the sum errs on the high side.
    """

    seconds: float
    cpu: float
    memory: int


class CommandFailed(Exception):
    """The command that was to be measured failed; the message has its output."""


def measure(command: Sequence[str], env: Mapping[str, str]) -> Cost:
    """Run a command to its end."""
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    watch = Watch(process.pid)
    watch.start()
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    watch.stop()
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}\n{said.decode(errors='replace')[-2000:]}")
    return Cost(seconds=seconds, cpu=usage.ru_utime + usage.ru_stime, memory=watch.peak)


class Watch(threading.Thread):
    """Looks at the resident memory of a process and its descendants until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self.peak = max(self.peak, sum(resident(pid) for pid in family(self.pid)))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        with contextlib.suppress(OSError):  # it may end while we look
            for thread in os.listdir(f"/proc/{current}/task"):
                children = Path(f"/proc/{current}/task/{thread}/children").read_text()
                waiting += [int(child) for child in children.split()]
    return found


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0
