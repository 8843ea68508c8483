"""From a `ContainerSpec` to the job that a step's process is given."""

from __future__ import annotations

import os
import resource
from typing import assert_never

from lamina.errors import UsageError, UserError
from lamina.executor import etcfiles
from lamina.executor.spec import (
    BindMount,
    ContainerSpec,
    FileMount,
    Mount,
    Network,
    OverlayMount,
    TmpfsMount,
    Ulimit,
)
from lamina.executor.wire import Job, MountJob

LIMITS = {
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,  # RLIMIT_LOCKS, which Python does not name
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}
"""Docker's names of setrlimit(2)'s resources."""

DEFAULT_SHM = 64 << 20
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_STAGING = "root"
_SCRATCH = "scratch"
_FIRST_USER_NAMESPACE = 0xEFFFFFFD  # PROC_USER_INIT_INO of include/linux/proc_ns.h

_NOTHING = MountJob(
    kind="",
    target="",
    lower=(),
    upper=None,
    work=None,
    source="",
    subpath="",
    read_only=False,
    size=0,
    mode=0,
    content=b"",
    uid=0,
    gid=0,
)


def make_places(state: str) -> None:
    """Makes the two directories below `state` that steps mount things on, each for itself."""
    for name in (_STAGING, _SCRATCH):
        os.makedirs(os.path.join(state, name), mode=0o700, exist_ok=True)


def job(spec: ContainerSpec, *, state: str, terminal: bool = False) -> Job:
    """The job for `spec`, with the places below `state`.

    Raises UsageError for an unknown limit, and UserError for a mount over the root.
    """
    for each in spec.mounts:
        if os.path.normpath("/" + each.target.lstrip("/")) == "/":
            raise UserError("invalid mount target /", hint="Mount to a directory below it.")
    process, root = spec.process, spec.root
    bound_read_only = isinstance(root, BindMount) and root.read_only
    layers_alone = isinstance(root, OverlayMount) and root.upper is None
    return Job(
        staging=os.path.join(state, _STAGING),
        scratch=os.path.join(state, _SCRATCH),
        root=mount(root),
        mounts=[mount(each) for each in (*_own_files(spec), *spec.mounts)],
        args=list(process.args),
        env=_environment(process.env, terminal=terminal),
        cwd=os.path.normpath("/" + process.cwd),
        user=process.user,
        hostname=spec.hostname or etcfiles.DEFAULT_HOSTNAME,
        private_network=spec.network is Network.NONE,
        cgroup_namespace=os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
        user_namespace=in_user_namespace(),
        groups=may_set_groups(),
        shm_size=spec.shm_size or DEFAULT_SHM,
        read_only=spec.read_only or bound_read_only or layers_alone,
        limits=[limit(each) for each in spec.ulimits],
        terminal=terminal,
        cgroups=None,
        runtime=None,
    )


def _environment(env: tuple[tuple[str, str], ...], *, terminal: bool) -> list[tuple[str, str]]:
    usual = {"PATH": DEFAULT_PATH, **({"TERM": "xterm"} if terminal else {})}
    return list({**usual, **dict(env)}.items())


def _own_files(spec: ContainerSpec) -> tuple[FileMount, FileMount]:
    return (
        FileMount(
            target="/etc/resolv.conf", content=etcfiles.resolv_conf(spec.network), mode=0o644
        ),
        FileMount(
            target="/etc/hosts",
            content=etcfiles.hosts(spec.hostname, spec.extra_hosts),
            mode=0o644,
        ),
    )


def mount(value: Mount) -> MountJob:
    """A mount as the step's process takes it."""
    match value:
        case OverlayMount():
            return {
                **_NOTHING,
                "kind": "overlay",
                "target": value.target,
                "lower": value.lower,
                "upper": value.upper,
                "work": value.work,
                "subpath": value.subpath,
                "read_only": value.upper is None,
            }
        case BindMount():
            return {
                **_NOTHING,
                "kind": "bind",
                "target": value.target,
                "source": value.source,
                "subpath": value.subpath,
                "read_only": value.read_only,
            }
        case TmpfsMount():
            return {
                **_NOTHING,
                "kind": "tmpfs",
                "target": value.target,
                "size": value.size,
                "mode": value.mode,
            }
        case FileMount():
            return {
                **_NOTHING,
                "kind": "file",
                "target": value.target,
                "content": value.content,
                "mode": value.mode,
                "uid": value.uid,
                "gid": value.gid,
                "read_only": True,
            }
        case _:
            assert_never(value)


def limit(value: Ulimit) -> tuple[int, int, int]:
    """(resource, soft, hard) for setrlimit(2)."""
    number = LIMITS.get(value.name)
    if number is None:
        raise UsageError(
            f"unknown ulimit {value.name}", hint=f"Known are {', '.join(sorted(LIMITS))}."
        )
    return number, value.soft, value.hard


def in_user_namespace() -> bool:
    """Whether this process is in another than the machine's first one (user_namespaces(7))."""
    return os.stat("/proc/self/ns/user").st_ino != _FIRST_USER_NAMESPACE


def may_set_groups() -> bool:
    """False where the user namespace forbids setgroups(2)."""
    with open("/proc/self/setgroups", encoding="ascii") as file:
        return file.read().strip() != "deny"
