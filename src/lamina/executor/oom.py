"""What the kernel killed for lack of memory while a step ran.

Looked for only where a step has failed: its exit code says little (`make` exits with 2 when
the compiler was killed). Three witnesses, each of which may be missing:

    /proc/vmstat    counts the kills of the whole machine; everybody may read it
    cgroups         count those of a step that has groups of its own, and the most it held
    /dev/kmsg       names each process, its memory and its group; often for root alone
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterable, Iterator

import msgspec

from lamina.executor.spec import OutOfMemory
from lamina.source import printable

_RECORD = 8192  # bytes; the longest record (CONSOLE_EXT_LOG_MAX of the kernel)
_MOST = 100_000  # records; more than any log holds
_SIGKILL = 128 + 9
_KILLED = re.compile(
    r"Killed process (?P<pid>\d+) \((?P<name>.*)\) total-vm:\d+kB, anon-rss:(?P<anon>\d+)kB"
    r"(?:, file-rss:(?P<file>\d+)kB)?(?:, shmem-rss:(?P<shared>\d+)kB)?"
)
_GROUP = re.compile(r"oom-kill:.*\btask_memcg=(?P<group>[^,]*),.*\bpid=(?P<pid>\d+)")


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """A process that the kernel killed: `used` bytes in memory, in the control group `group`."""

    name: str
    used: int
    group: str = ""


class MemoryWatch:
    """Sees the kills from when it is made on. Safe for several threads."""

    def __init__(self) -> None:
        self._log = _open_log()
        self._lock = threading.Lock()
        self._seen: list[Kill] = []

    def close(self) -> None:
        with self._lock:
            if self._log is not None:
                os.close(self._log)
                self._log = None

    def explain(
        self,
        *,
        code: int,
        before: int,
        group: str = "",
        figures: tuple[int, int] | None = None,
        limit: int = 0,
    ) -> OutOfMemory | None:
        """Why a step that failed with `code` did, if it was for lack of memory.

        `before` is what `kill_count` gave when it began. `group` is the name of its own control
        groups ("": it has none), and `figures` are the kills and the most bytes that they counted.
        """
        kills = figures[0] if figures is not None else kill_count() - before
        if kills <= 0:
            return None
        peak = figures[1] if figures is not None else 0
        named = [each for each in self._named() if group in each.group][-kills:]
        if named:
            worst = max(named, key=lambda each: each.used)
            return OutOfMemory(process=worst.name, used=worst.used, peak=peak, limit=limit)
        if figures is None and code != _SIGKILL:
            return None  # nothing says that it was one of the step's
        return OutOfMemory(peak=peak, limit=limit)

    def _named(self) -> list[Kill]:
        """All kills that the kernel's log tells of, in order."""
        with self._lock:
            if self._log is not None:
                self._seen += parse_kills(_new_records(self._log))
            return list(self._seen)


def kill_count() -> int:
    """How many processes the kernel has killed for lack of memory since the machine started."""
    with contextlib.suppress(OSError), open("/proc/vmstat", encoding="ascii") as file:
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def parse_kills(records: Iterable[str]) -> Iterator[Kill]:
    """From records of /dev/kmsg (`prefix;text`), in the words of mm/oom_kill.c."""
    groups: dict[str, str] = {}
    for record in records:
        if found := _GROUP.search(record):
            groups[found["pid"]] = found["group"]
        elif found := _KILLED.search(record):
            used = sum(int(found[part] or 0) for part in ("anon", "file", "shared"))
            name = printable(found["name"])
            yield Kill(name=name, used=used << 10, group=groups.get(found["pid"], ""))


def _open_log() -> int | None:
    """The kernel's log from now on; None where this user may not read it."""
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        os.lseek(log, 0, os.SEEK_END)
        with contextlib.suppress(BlockingIOError):
            os.read(log, _RECORD)  # says whether reading is allowed at all
    except OSError:
        os.close(log)
        return None
    return log


def _new_records(log: int) -> list[str]:
    records = []
    for _ in range(_MOST):
        try:
            record = os.read(log, _RECORD)
        except BrokenPipeError:
            continue  # some were overwritten before they were read
        except OSError:
            break
        records.append(record.decode("utf-8", "replace"))
    return records
