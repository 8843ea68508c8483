"""Control groups (cgroups(7)) of a step, made and removed by its supervisor.

Only a step with limits gets any: to move a process into a group, the kernel waits for all
processors (5 to 15 ms, as long as everything else that a step takes). Both versions are known, and
mixtures of them. Imported by the zygote, so it imports nothing.
"""

from __future__ import annotations

import contextlib
import os

from lamina.executor.wire import CgroupJob

_V1_KILLS, _V2_KILLS = "memory.oom_control", "memory.events"
_PEAKS = ("memory.max_usage_in_bytes", "memory.peak")


class Cgroups:
    """The groups of one step, one a hierarchy. Raises OSError where they cannot be made."""

    def __init__(self, job: CgroupJob) -> None:
        self._made: list[str] = []
        try:
            for parent, settings in job["hierarchies"]:
                place = os.path.join(parent, job["name"])
                os.mkdir(place)
                self._made.append(place)
                for name, value in settings:
                    _write(os.path.join(place, name), value)
        except BaseException:
            self.remove()
            raise

    def enter(self) -> None:
        """Moves the calling process into the groups."""
        for place in self._made:
            _write(os.path.join(place, "cgroup.procs"), "0")

    def memory(self) -> tuple[int, int]:
        """How many processes were killed for lack of memory, and the most bytes in use; 0 where
        nobody counts.
        """
        kills = peak = 0
        for place in self._made:
            for name in (_V1_KILLS, _V2_KILLS):
                for line in _read(os.path.join(place, name)).splitlines():
                    if line.startswith("oom_kill "):
                        kills = max(kills, int(line.split()[1]))
            for name in _PEAKS:
                peak = max(peak, int(_read(os.path.join(place, name)).strip() or 0))
        return kills, peak

    def remove(self) -> None:
        """All processes in them are dead."""
        for place in self._made:
            with contextlib.suppress(OSError):
                os.rmdir(place)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{path} = {text}") from error
    finally:
        os.close(descriptor)


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
        return file.read()
    return ""
