"""The process that steps are forked from, and the supervisor of each step.

    builder ── zygote ── supervisor (a step) ── process 1 of the container

Starting Python takes longer than all that a container needs, so one small process is started, once,
and forked for every step. It takes from the builder a control socket and the streams of the step
(standard output and error, and input where somebody is attached), forks, and forgets them. The
supervisor reads the job from the socket, mounts the root in a mount namespace of its own, and waits
for the container to end or for the builder to hang up.

Who dies takes everything below along: the supervisor kills the container when the control socket
closes (a killed builder cannot keep it open), the container's process 1 gets SIGKILL when the
supervisor dies, and the kernel ends a process tree with its process 1. Mounts vanish with their
namespaces.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import select
import signal
import sys
from _socket import socket as Socket  # noqa: N812 - the socket module is slow to import
from typing import NoReturn

from lamina.executor import bundle, rootfs, sandbox, wire
from lamina.executor.cgroups import Cgroups
from lamina.executor.stubs import Stubs
from lamina.executor.wire import Job
from lamina.fs import syscalls

MOST_DESCRIPTORS = 4
CONTROL = 3
MAX_LOG = 1 << 20
_FREE = 16
_NAMESPACES = syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS


def main(descriptor: int) -> None:
    """Serves the builder at the other end of the socket `descriptor` until it hangs up."""
    os.setsid()
    os.umask(0o022)
    # Signals are the builder's to deal with, whoever else they were meant for: it ends the steps.
    # Children that end are nobody's concern.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(ignored, signal.SIG_IGN)
    builder = Socket(fileno=descriptor)
    try:
        hello = wire.receive(builder)
        if hello is None:
            return
        wire.send(builder, "ready")
    except OSError:  # the builder has ended without a step
        return
    # What is here stays: a collection would only copy memory that the children share.
    gc.disable()
    gc.freeze()
    while True:
        received = wire.receive_descriptors(builder, MOST_DESCRIPTORS)
        if not received:
            return
        if os.fork() == 0:
            builder.close()
            _supervise(received, seccomp=hello["seccomp"])
        for number in received:
            os.close(number)


def _supervise(descriptors: list[int], *, seccomp: bytes | None) -> NoReturn:
    """The life of one step. Never returns into the zygote's loop, whatever happens."""
    # Out of the way of the places that the container's first process has for them.
    control_copy, *streams = (_above(number) for number in descriptors)
    os.dup2(control_copy, CONTROL, inheritable=False)
    os.close(control_copy)
    control = Socket(fileno=CONTROL)
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        job = wire.receive(control)
        if job is not None:
            wire.send(control, ("exited", _run(job, control, streams, seccomp=seccomp)))
        os._exit(0)
    except BaseException as error:
        report(control, error)
        os._exit(1)


def _above(number: int) -> int:
    """Moves a descriptor above those with a fixed number."""
    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FREE)
    os.close(number)
    return moved


def report(control: Socket, error: BaseException) -> None:
    """Sends the builder what went wrong: ("failed", whose, message, hint, exit status)."""
    message: tuple[str, str, str, str | None, int]
    match error:
        case sandbox.CannotStart():
            message = ("failed", "user", error.message, error.hint, error.status)
        case OSError():
            about = f" ({_text(error.filename)})" if error.filename else ""
            hint = _HINTS.get(error.errno or 0)
            message = ("failed", "host", f"{error.strerror or error}{about}", hint, 1)
        case _:
            message = ("failed", "bug", f"{type(error).__name__}: {error}", None, 70)
    try:
        wire.send(control, message)
    except OSError:
        return


_HINTS = {
    errno.ENOSYS: "The embedded sandbox needs Linux 5.12; --isolation=oci may do on older ones.",
    errno.ENOSPC: "The disk is full, or there are too many mounts or namespaces "
    "(/proc/sys/fs/mount-max, /proc/sys/user).",
}


def _text(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, bytes | str) else str(path)


def _run(job: Job, control: Socket, streams: list[int], *, seccomp: bytes | None) -> int:
    """Runs the container; its wait status. Every mount is gone when this returns."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    root = rootfs.mount_root(job)
    stubs = Stubs(root, job["root"]["upper"])
    groups = Cgroups(job["cgroups"]) if job["cgroups"] is not None else None
    try:
        trees = _mount_points(job, stubs)
        _unshare(job)
        log = _above(os.memfd_create("log"))
        child = os.fork()
        if child == 0:
            _contain(job, control, streams, trees, groups, seccomp=seccomp, log=log)
        for number in (*streams, *trees):
            os.close(number)
        status = _wait(child, control)
        if groups is not None and status:
            wire.send(control, ("memory", *groups.memory()))
        if job["runtime"]:
            wire.send(control, ("log", os.pread(log, MAX_LOG, 0)))
            bundle.remove_cgroups(job["runtime"]["id"])
        return status
    finally:
        if groups is not None:
            groups.remove()
        stubs.remove()
        os.close(root)
        syscalls.unmount(job["staging"])
        stubs.remove_copies()


def _mount_points(job: Job, stubs: Stubs) -> list[int]:
    """What the step's mounts show, as detached mounts; their mount points in the root are made."""
    for path in (b"proc", b"dev", b"sys"):
        stubs.keep(path)
    trees = []
    for mount in job["mounts"]:
        tree = _above(rootfs.tree(mount, job["scratch"], user_namespace=job["user_namespace"]))
        trees.append(tree)
        stubs.cover(os.fsencode(mount["target"]), directory=rootfs.is_directory(tree))
    return trees


def _unshare(job: Job) -> None:
    """The namespaces of the container; an OCI runtime makes all but the outer process tree."""
    if job["runtime"] is not None:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        return
    flags = _NAMESPACES
    if job["cgroup_namespace"] and job["cgroups"] is None:
        flags |= syscalls.CLONE_NEWCGROUP
    flags |= syscalls.CLONE_NEWNET if job["private_network"] else 0
    syscalls.unshare(flags)
    if job["private_network"]:
        _loopback_up()


def _contain(
    job: Job,
    control: Socket,
    streams: list[int],
    trees: list[int],
    groups: Cgroups | None,
    *,
    seccomp: bytes | None,
    log: int,
) -> NoReturn:
    """Process 1 of the container, until it is the step's command."""
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if groups is not None:
            groups.enter()
            if job["cgroup_namespace"]:  # its own groups are the root of what it sees
                syscalls.unshare(syscalls.CLONE_NEWCGROUP)
        attached = len(streams) == len((0, 1, 2))
        for number, stream in ((0, streams[-1]), (1, streams[0]), (2, streams[1])):
            if number > 0 or attached:
                os.dup2(stream, number)
        if job["runtime"] is not None:
            os.dup2(log, bundle.LOG)
            bundle.become(job, trees)
        sandbox.become(job, trees, seccomp=seccomp, control=control, attached=attached)
    except BaseException as error:
        report(control, error)
    finally:
        os._exit(127)


def _wait(child: int, control: Socket) -> int:
    """The wait status of `child`, which is killed when the builder says so or is gone."""
    descriptor = os.pidfd_open(child)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(control.fileno(), select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready == descriptor:
                os.close(descriptor)
                return os.waitpid(child, 0)[1]
            message = wire.receive(control)
            if message is None:
                poll.unregister(control.fileno())
            os.kill(child, signal.SIGKILL if message is None else message)


def _loopback_up() -> None:
    """ioctl SIOCSIFFLAGS (netdevice(7)) on `lo`."""
    device = Socket()
    request = b"lo".ljust(16, b"\0") + (0x1 | 0x40).to_bytes(2, sys.byteorder)
    fcntl.ioctl(device.fileno(), 0x8914, request.ljust(40, b"\0"))
    device.close()
