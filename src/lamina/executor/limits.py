"""Where the control groups of a step with limits go, and what is written to them (cgroups(7)).

Version 1 has a hierarchy a controller: the group is made in the one that this process is in.
Version 2 has a single hierarchy, in which only groups without processes may hand controllers on to
those in them; so it is made in the nearest group above that does, and that this user may change:
below systemd, `app.slice` of a user's session, or a slice of root's.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from lamina.errors import HostError, UsageError
from lamina.executor.spec import Resources
from lamina.executor.wire import CgroupJob

_LEAST_MEMORY = 6 << 20  # bytes; runc and Docker refuse less
_PERIOD = 100_000

Setting = tuple[str, str]


class CannotLimit(HostError):
    """This machine does not let this user limit the steps."""


class _Hierarchy(msgspec.Struct, frozen=True):
    """A mounted hierarchy: `place` is the group of this process in it, `top` its mount point."""

    version: int
    controllers: frozenset[str]
    top: str
    place: str


def check(resources: Resources) -> None:
    """Raises UsageError for limits that contradict each other."""
    if resources.memory and resources.memory < _LEAST_MEMORY:
        raise UsageError(
            f"a limit of {resources.memory} bytes of memory is too small for any step",
            hint=f"the least is {_LEAST_MEMORY >> 20}m",
        )
    if resources.memory_swap > 0 and not resources.memory:
        raise UsageError("memory-swap needs memory: it is the sum of memory and swap")
    if 0 < resources.memory_swap < resources.memory:
        raise UsageError(
            "memory-swap is smaller than memory", hint="it is the sum of memory and swap"
        )


def plan(
    resources: Resources,
    name: str,
    *,
    read: Callable[[str], str] | None = None,
    writable: Callable[[str], bool] = lambda path: os.access(path, os.W_OK),
) -> CgroupJob:
    """The groups called `name` that impose `resources`. Raises CannotLimit.

    `read` gives the text of a file, "" where there is none.
    """
    read = read or _read
    wanted = _controllers(resources)
    found = _hierarchies(read("/proc/self/cgroup"), read("/proc/self/mountinfo"), read)
    groups: dict[str, list[Setting]] = {}
    for controller in wanted:
        hierarchy = next((each for each in found if controller in each.controllers), None)
        if hierarchy is None:
            raise _refusal(controller, "this machine has no cgroups with it")
        if hierarchy.version == 1:
            settings = _version1(controller, resources, hierarchy.place, read)
            parent = hierarchy.place if writable(hierarchy.place) else None
        else:
            settings = _version2(controller, resources)
            parent = _handing_on(hierarchy, wanted, read, writable)
        if parent is None:
            raise _refusal(controller, "this user may not make a cgroup with it")
        groups.setdefault(parent, []).extend(settings)
    return CgroupJob(name=name, hierarchies=list(groups.items()))


def _controllers(resources: Resources) -> list[str]:
    wanted = []
    if resources.memory or resources.memory_swap:
        wanted.append("memory")
    if resources.cpu_shares or resources.cpu_period or resources.cpu_quota:
        wanted.append("cpu")
    if resources.cpuset_cpus or resources.cpuset_mems:
        wanted.append("cpuset")
    return wanted


def _refusal(controller: str, why: str) -> CannotLimit:
    what = {"memory": "memory", "cpu": "processor time"}.get(controller, "the set of processors")
    return CannotLimit(
        f"{what} of steps cannot be limited here: {why} (controller {controller})",
        hint="leave the limit out, run as root, or have systemd hand the controllers on: "
        "systemd-run --user --scope -p Delegate=yes lamina build …",
    )


def _hierarchies(own: str, mountinfo: str, read: Callable[[str], str]) -> tuple[_Hierarchy, ...]:
    """All that are mounted. `own` is proc_pid_cgroup(5), `mountinfo` proc_pid_mountinfo(5)."""
    paths = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        paths[frozenset(filter(None, controllers.split(",")))] = path
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        root, top = words[3], words[4]
        key = frozenset(kind[2].split(",")) - {"rw", "ro"} if kind[0] == "cgroup" else frozenset()
        names = next((each for each in paths if each <= key and bool(each) == bool(key)), None)
        if names is None or not _is_below(paths[names], root):
            continue
        place = os.path.normpath(f"{top}/{os.path.relpath(paths[names], root)}")
        version = 1 if key else 2
        if version == 2:
            names = frozenset(read(f"{top}/cgroup.controllers").split())
        found.append(_Hierarchy(version, names, top, place))
    return tuple(found)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _handing_on(
    hierarchy: _Hierarchy,
    wanted: list[str],
    read: Callable[[str], str],
    writable: Callable[[str], bool],
) -> str | None:
    """The nearest group that hands on what of `wanted` is in the hierarchy."""
    needed = set(wanted) & hierarchy.controllers
    place = hierarchy.place
    while _is_below(place, hierarchy.top):
        if not (writable(place) and writable(f"{place}/cgroup.procs")):
            return None
        if needed <= set(read(f"{place}/cgroup.subtree_control").split()):
            return place
        place = os.path.dirname(place)
    return None


def _version1(
    controller: str, resources: Resources, place: str, read: Callable[[str], str]
) -> list[Setting]:
    if controller == "memory":
        settings = [("memory.limit_in_bytes", str(resources.memory))] if resources.memory else []
        if resources.memory_swap:
            settings.append(("memory.memsw.limit_in_bytes", str(resources.memory_swap)))
        return settings
    if controller == "cpu":
        rows = (
            ("cpu.shares", resources.cpu_shares),
            ("cpu.cfs_period_us", resources.cpu_period),
            ("cpu.cfs_quota_us", resources.cpu_quota),
        )
        return [(name, str(value)) for name, value in rows if value]
    # A new group has no processors and no memory: nothing can be in it.
    rest = {name: read(f"{place}/cpuset.{name}").strip() for name in ("cpus", "mems")}
    return [
        ("cpuset.cpus", resources.cpuset_cpus or rest["cpus"]),
        ("cpuset.mems", resources.cpuset_mems or rest["mems"]),
    ]


def _version2(controller: str, resources: Resources) -> list[Setting]:
    if controller == "memory":
        settings = [("memory.max", str(resources.memory))] if resources.memory else []
        if resources.memory_swap < 0:
            settings.append(("memory.swap.max", "max"))
        elif resources.memory_swap:
            settings.append(("memory.swap.max", str(resources.memory_swap - resources.memory)))
        return settings
    if controller == "cpu":
        settings = []
        if resources.cpu_shares:
            settings.append(("cpu.weight", str(weight(resources.cpu_shares))))
        if resources.cpu_quota or resources.cpu_period:
            quota = resources.cpu_quota or "max"
            settings.append(("cpu.max", f"{quota} {resources.cpu_period or _PERIOD}"))
        return settings
    rows = (("cpuset.cpus", resources.cpuset_cpus), ("cpuset.mems", resources.cpuset_mems))
    return [(name, value) for name, value in rows if value]


def weight(shares: int) -> int:
    """Version 2's weight (1 to 10000) for version 1's shares (2 to 262144), as runc converts it."""
    shares = min(max(shares, 2), 262_144)
    return 1 + (shares - 2) * 9_999 // 262_142


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
