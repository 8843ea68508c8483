"""The first process of a container: from a fork of the builder's zygote to the step's command.

It is process 1 of its own process tree, in namespaces of its own. It mounts what the container
sees, makes that its root, gives up every privilege that Docker's defaults do not grant, and becomes
the step's command. The order follows runc's: the seccomp filter comes while CAP_SYS_ADMIN is still
there, because a step may use setuid programs and so runs without no_new_privs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import stat
import sys
import termios
from _socket import socket as Socket  # noqa: N812 - the socket module is slow to import
from typing import NoReturn

from lamina.executor import inside, rootfs, users, wire
from lamina.executor.wire import Job
from lamina.fs import syscalls

CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
"""Docker's default: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP (capabilities(7))."""

_MASK = sum(1 << number for number in CAPABILITIES)


class CannotStart(Exception):
    """The image does not have what the step asks for; `status` is what a shell would exit with."""

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint


def become(
    job: Job, trees: list[int], *, seccomp: bytes | None, control: Socket, attached: bool
) -> NoReturn:
    """Turns this process into the step's. Raises CannotStart or OSError while it still can.

    `trees` are the job's mounts, detached. Standard output and error are descriptors 1 and 2
    already, and input is 0 where a user is `attached`; `control` is 3, and execve(2) closes it.
    """
    os.setsid()
    enter(job, trees)
    if not attached:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
    _set_limits(job["limits"])
    syscalls.join_new_keyring()
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    identity = identify(root, job["user"])
    os.close(root)
    if job["terminal"]:
        master = open_terminal(identity)
        wire.send(control, "terminal")
        wire.send_descriptors(control, [master])
    elif not attached:
        _own_streams(identity)
    make_directory(job["cwd"], identity)
    environment = dict(job["env"])
    if not environment.get("HOME"):
        environment["HOME"] = identity.home
    if seccomp is not None:
        syscalls.install_filter(seccomp)
    _drop_privileges(identity, groups=job["groups"])
    _reset_signals()
    execute(job["args"], environment)


def enter(job: Job, trees: list[int]) -> None:
    """Mounts the container's file systems in a namespace of its own, and makes them the root."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    root = os.open(job["staging"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # From here on an import would read the image's files, with all the privileges that are left.
    sys.path.clear()
    sys.meta_path.clear()
    rootfs.assemble(root, job, trees)
    os.fchdir(root)
    os.close(root)
    syscalls.pivot_root(".", ".")
    # Old and new root are now stacked at the same place; the old one is on top (pivot_root(2)).
    syscalls.unmount(".", syscalls.MNT_DETACH)
    os.chdir("/")
    if job["hostname"]:
        syscalls.set_hostname(job["hostname"])


def identify(root: int, user: str) -> users.Identity:
    """Looks `user` up in the root file system at the descriptor `root`."""
    passwd = inside.read_file(root, b"etc/passwd", users.MAX_FILE)
    group = inside.read_file(root, b"etc/group", users.MAX_FILE)
    try:
        return users.lookup(user, passwd, group)
    except users.UnknownUser as error:
        hint = "USER and --chown look names up in the image's own /etc/passwd and /etc/group."
        raise CannotStart(str(error), status=126, hint=hint) from error


def make_directory(path: str, identity: users.Identity) -> None:
    """Changes to the working directory; what is missing of it belongs to the step's user."""
    try:
        os.chdir(path)
        return
    except FileNotFoundError:
        pass
    except NotADirectoryError as error:
        raise CannotStart(f"the working directory {path} is not a directory", status=126) from error
    made = "/"
    for name in path.split("/"):
        made = os.path.join(made, name)
        try:
            os.mkdir(made, 0o755)
        except FileExistsError:
            continue
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            message = f"the working directory {path} cannot be made: {reason}"
            raise CannotStart(message, status=126) from error
        os.chown(made, identity.uid, identity.gid)
    try:
        os.chdir(path)
    except OSError as error:
        message = f"the working directory {path} is not a directory"
        raise CannotStart(message, status=126) from error


def _set_limits(limits: list[tuple[int, int, int]]) -> None:
    for number, soft, hard in limits:
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as error:
            allowed = resource.getrlimit(number)[1]
            raise CannotStart(
                f"the limit {soft}:{hard} for resource {number} is refused: {error}",
                status=126,
                hint=f"The most that this machine allows here is {allowed}; "
                "raising it needs CAP_SYS_RESOURCE.",
            ) from error


def open_terminal(identity: users.Identity) -> int:
    """Makes a new pseudo terminal this process's own (pts(4)); the other end, as a descriptor."""
    master, slave = os.openpty()
    name = os.ttyname(slave)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for stream in (0, 1, 2):
        os.dup2(slave, stream)
    os.close(slave)
    _own_streams(identity)
    with open("/dev/console", "xb"):
        syscalls.mount(name, "/dev/console", None, syscalls.MS_BIND)
    return master


def _own_streams(identity: users.Identity) -> None:
    """So that `/dev/stdout` can be opened again by a user who is not root."""
    for stream in (1, 2):
        try:
            os.fchown(stream, identity.uid, -1)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS):
                raise


def _drop_privileges(identity: users.Identity, *, groups: bool) -> None:
    syscalls.drop_bounding(_MASK)
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    try:
        if groups:
            os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise CannotStart(
            f"user {identity.uid} and group {identity.gid} have no place in this user namespace",
            status=126,
            hint="Give this user a range of subordinate ids: "
            "`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME`.",
        ) from error
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)
    syscalls.set_capabilities(_MASK)
    # The change of user has cleared it.
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _reset_signals() -> None:
    """Python ignores two signals, and whoever started the builder may ignore others."""
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                continue
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def execute(args: list[str], environment: dict[str, str]) -> NoReturn:
    """execve(2) with the lookup in PATH that runc does; raises CannotStart."""
    if not args:
        raise CannotStart("there is no command to run", status=127)
    path = find_command(args[0], environment.get("PATH", ""))
    syscalls.close_from(4)
    try:
        os.execve(path, args, environment)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        hints = {
            errno.ENOENT: "The file is there; its dynamic loader or the interpreter in its "
            "first line is not.",
            errno.ENOEXEC: "It is made for another processor, or is a script without a `#!` line.",
        }
        status = 127 if error.errno == errno.ENOENT else 126
        raise CannotStart(
            f"exec {path}: {reason}", status=status, hint=hints.get(error.errno or 0)
        ) from error


def find_command(name: str, path: str) -> str:
    """Where the command `name` is; the texts are those that users of Docker know."""
    if "/" in name:
        reason = _unusable(name)
        if reason is None:
            return name
        status = 127 if reason == "no such file or directory" else 126
        detail = f"stat {name}: {reason}" if status == 127 else reason
        raise CannotStart(f'exec: "{name}": {detail}', status=status)
    denied = False
    for directory in filter(None, path.split(":")):
        candidate = os.path.join(directory, name)
        reason = _unusable(candidate)
        if reason is None:
            return candidate
        denied = denied or reason == "permission denied"
    if denied:
        raise CannotStart(f'exec: "{name}": permission denied', status=126)
    raise CannotStart(f'exec: "{name}": executable file not found in $PATH', status=127)


def _unusable(path: str) -> str | None:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file or directory"
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    if stat.S_ISDIR(mode):
        return "is a directory"
    return None if os.access(path, os.X_OK) else "permission denied"
