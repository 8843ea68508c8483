"""Where the control groups of steps go, for every layout of cgroups."""

from __future__ import annotations

import pytest

from lamina.errors import UsageError
from lamina.executor.limits import CannotLimit, check, plan, weight
from lamina.executor.spec import Resources

HYBRID = {
    "/proc/self/cgroup": "4:memory:/jobs/7\n3:cpuset:/\n1:cpu,cpuacct:/jobs/7\n0::/\n",
    "/proc/self/mountinfo": (
        "30 1 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "31 1 0:2 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "32 1 0:3 /jobs /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "33 1 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    ),
    "/sys/fs/cgroup/unified/cgroup.controllers": "hugetlb\n",
    "/sys/fs/cgroup/cpuset/cpuset.mems": "0\n",
}
TOP = "/sys/fs/cgroup"
APPS = f"{TOP}/user.slice/user@1000.service/app.slice"
SYSTEMD = {
    "/proc/self/cgroup": "0::/user.slice/user@1000.service/app.slice/term.scope\n",
    "/proc/self/mountinfo": "30 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
    f"{TOP}/cgroup.controllers": "cpuset cpu memory pids\n",
    f"{APPS}/term.scope/cgroup.subtree_control": "\n",
    f"{APPS}/cgroup.subtree_control": "memory pids\n",
    f"{TOP}/user.slice/user@1000.service/cgroup.subtree_control": "cpu memory pids\n",
    f"{TOP}/user.slice/cgroup.subtree_control": "cpuset cpu memory pids\n",
}


def planned(
    files: dict[str, str], resources: Resources, *, writable: str = "/"
) -> list[tuple[str, list[tuple[str, str]]]]:
    job = plan(
        resources,
        "lamina-1",
        read=lambda path: files.get(path, ""),
        writable=lambda path: path.startswith(writable),
    )
    assert job["name"] == "lamina-1"
    return job["hierarchies"]


def test_version_1() -> None:
    """Each controller has a hierarchy; the group is made in the one that this process is in."""
    wanted = Resources(memory=1 << 30, memory_swap=-1, cpu_quota=50_000, cpuset_cpus="0-1")
    assert planned(HYBRID, wanted) == [
        (
            f"{TOP}/memory/jobs/7",
            [("memory.limit_in_bytes", "1073741824"), ("memory.memsw.limit_in_bytes", "-1")],
        ),
        (f"{TOP}/cpu/7", [("cpu.cfs_quota_us", "50000")]),
        (f"{TOP}/cpuset", [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
    ]


def test_version_2_below_systemd() -> None:
    """The nearest group above that hands all of the controllers on is taken."""
    session = f"{TOP}/user.slice/user@1000.service"
    memory = Resources(memory=1 << 30, memory_swap=3 << 29)
    assert planned(SYSTEMD, memory, writable=session) == [
        (APPS, [("memory.max", "1073741824"), ("memory.swap.max", "536870912")])
    ]
    both = Resources(memory=1 << 30, cpu_quota=50_000, cpu_shares=1024)
    assert planned(SYSTEMD, both, writable=session) == [
        (
            session,
            [("memory.max", "1073741824"), ("cpu.weight", "39"), ("cpu.max", "50000 100000")],
        )
    ]


@pytest.mark.parametrize(
    ("files", "resources", "says"),
    [
        (SYSTEMD, Resources(cpuset_cpus="0"), "the set of processors of steps cannot be limited"),
        (HYBRID, Resources(memory=1 << 30), "memory of steps cannot be limited here"),
        ({}, Resources(cpu_shares=2), "this machine has no cgroups with it (controller cpu)"),
    ],
)
def test_what_is_not_handed_on(files: dict[str, str], resources: Resources, says: str) -> None:
    """A user who may not limit is told so, and of what."""
    with pytest.raises(CannotLimit) as refused:
        planned(files, resources, writable=f"{TOP}/user.slice/user@1000.service")
    assert says in refused.value.message


@pytest.mark.parametrize(("shares", "expected"), [(1, 1), (2, 1), (1024, 39), (262_144, 10_000)])
def test_shares_to_weight(shares: int, expected: int) -> None:
    """The ends of one scale are those of the other."""
    assert weight(shares) == expected


def test_contradictions() -> None:
    """Limits that cannot both hold are refused."""
    for resources in (Resources(memory=1), Resources(memory_swap=1 << 30)):
        with pytest.raises(UsageError):
            check(resources)
    check(Resources(memory=1 << 30, memory_swap=1 << 30))
