"""What commands cost: wall-clock time, processor time, and the memory of all their processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

INTERVAL = 0.02  # seconds between two looks at the memory
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


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


def measure(
    commands: Sequence[Sequence[str]], env: Mapping[str, str], servers: Sequence[int] = ()
) -> Cost:
    """Run commands at once, to the end of the last.

    `servers` are processes that work for them: their memory counts, and what processor time they
    take meanwhile. Everything that was written before is on the disk before the clock starts.
    """
    os.sync()
    before = sum(processor_time(pid) for pid in servers)
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands]
        started = time.monotonic()
        running = [start(*pair, env) for pair in zip(commands, outputs, strict=True)]
        watch = Watch([*(process.pid for process in running), *servers])
        watch.start()
        cpu = sum(wait(process) for process in running)
        seconds = time.monotonic() - started
        watch.stop()
        for process, output in zip(running, outputs, strict=True):
            if process.returncode != 0:
                output.seek(0)
                said = output.read().decode(errors="replace")[-2000:]
                raise CommandFailed(f"{process.args!r}: exit code {process.returncode}\n{said}")
    cpu += sum(processor_time(pid) for pid in servers) - before
    return Cost(seconds=seconds, cpu=cpu, memory=watch.peak)


def start(
    command: Sequence[str], output: IO[bytes], env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    )


def wait(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; the processor time of it and all its children."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


class Watch(threading.Thread):
    """Looks at the resident memory of processes and their descendants until it is stopped."""

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self.pids = pids
        self.peak = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            found = {pid for root in self.pids for pid in family(root)}
            self.peak = max(self.peak, sum(resident(pid) for pid in found))

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


def processor_time(pid: int) -> float:
    """Seconds of a process and of those of its children that have ended (proc(5), `stat`)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS
