"""Makes an ordinary user root, in a user namespace of its own (user_namespaces(7)).

Inside it the process may mount, chown and start containers; outside it is still that user. With a
range of subordinate ids (subuid(5)) all users of an image exist; without, only root does.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
from collections.abc import Callable
from typing import NoReturn

import msgspec

from lamina.errors import HostError
from lamina.fs import syscalls

_CAP_SYS_ADMIN = 21


class Mode(enum.Enum):
    """`SUBORDINATE`: a range of ids; `SINGLE`: root alone; `NONE`: no namespace was needed."""

    SUBORDINATE = "subordinate"
    SINGLE = "single"
    NONE = "none"


class UserNamespace(msgspec.Struct, frozen=True, kw_only=True):
    """Where this process is now, and why not in a better place."""

    mode: Mode
    reason: str


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """`count` ids from `inside` on are those from `outside` on."""

    inside: int
    outside: int
    count: int


class NoUserNamespace(HostError):
    """This machine does not let this user have a user namespace that is of use."""


def enter_user_namespace() -> UserNamespace:
    """Moves this process into a user namespace where it is root with all capabilities.

    Call it before any thread is started. A root that may already mount stays where it is.
    Raises NoUserNamespace with the one setting that is in the way.
    """
    if has_capability(_CAP_SYS_ADMIN):
        return UserNamespace(mode=Mode.NONE, reason="this process is root already")
    uid, gid = os.geteuid(), os.getegid()
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        _map_from_outside(os.getppid(), ready, uid, gid)
    os.close(ready)
    refused: OSError | None = None
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        os.write(go, b"x")
    except OSError as error:
        refused = error
    os.close(go)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if refused is not None:
        _refuse(refused)
    result = UserNamespace(mode=Mode.SUBORDINATE, reason="newuidmap and newgidmap gave a range")
    if status != 0:
        result = UserNamespace(mode=Mode.SINGLE, reason=_why_single(status))
        _map_single(uid, gid)
    try:
        syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    except OSError as error:
        _refuse(error)
    return result


def has_capability(number: int) -> bool:
    """Whether the effective set holds the capability `number` (capabilities(7))."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


_NO_RANGE, _NO_PROGRAM, _REFUSED = 10, 11, 12


def _why_single(status: int) -> str:
    return {
        _NO_RANGE: "/etc/subuid or /etc/subgid has no range for this user",
        _NO_PROGRAM: "newuidmap and newgidmap are not installed (package uidmap)",
    }.get(status, "newuidmap or newgidmap was refused")


def _map_from_outside(parent: int, ready: int, uid: int, gid: int) -> NoReturn:
    """The helper child, which stays outside and so may map ids of others for its parent."""
    status = _REFUSED
    try:
        if os.read(ready, 1):
            status = _map_ranges(parent, uid, gid)
    except OSError:
        status = _REFUSED
    finally:
        os._exit(status)


def _map_ranges(parent: int, uid: int, gid: int) -> int:
    if uid == 0:
        # Root without CAP_SYS_ADMIN, as in a container: it may still map what it has.
        for kind in ("uid", "gid"):
            with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
                held = [line.split() for line in file]
            text = "".join(f"{inside} {inside} {count}\n" for inside, _, count in held)
            with open(f"/proc/{parent}/{kind}_map", "w", encoding="ascii") as file:
                file.write(text)
        return 0
    plans = []
    for program, path, number in (
        ("newuidmap", "/etc/subuid", uid),
        ("newgidmap", "/etc/subgid", gid),
    ):
        ranges = subordinate(_read(path), name=_account(uid), uid=uid)
        found = _program(program)
        if not ranges:
            return _NO_RANGE
        if found is None:
            return _NO_PROGRAM
        rows = (Range(inside=0, outside=number, count=1), *ranges)
        plans.append((found, rows))
    for program, rows in plans:
        words = [str(n) for row in rows for n in (row.inside, row.outside, row.count)]
        if _spawn([program, str(parent), *words]) != 0:
            return _REFUSED
    return 0


def subordinate(text: str, *, name: str, uid: int) -> tuple[Range, ...]:
    """The ranges of a user in subuid(5) or subgid(5) format, placed from id 1 on."""
    ranges: list[Range] = []
    inside = 1
    for line in text.splitlines():
        words = line.strip().split(":")
        if len(words) != 3 or words[0] not in (name, str(uid)):
            continue
        if not (words[1].isdigit() and words[2].isdigit()) or int(words[2]) == 0:
            continue
        ranges.append(Range(inside=inside, outside=int(words[1]), count=int(words[2])))
        inside += int(words[2])
    return tuple(ranges)


def _spawn(arguments: list[str]) -> int:
    """The exit status; its complaints are not the user's (there is another way)."""
    null = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (0, 1, 2)]
    child = os.posix_spawn(arguments[0], arguments, {}, file_actions=actions)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _map_single(uid: int, gid: int) -> None:
    """user_namespaces(7): an unprivileged process may map itself alone, without setgroups(2)."""
    for name, text in (
        ("uid_map", f"0 {uid} 1\n"),
        ("setgroups", "deny"),
        ("gid_map", f"0 {gid} 1\n"),
    ):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            # One of the two maps may have been written before the other was refused.
            if error.errno != errno.EPERM or name == "setgroups":
                _refuse(error)
    if os.geteuid() != 0 or os.getegid() != 0:
        _refuse(OSError(errno.EPERM, os.strerror(errno.EPERM)))


def _refuse(error: OSError) -> NoReturn:
    setting = obstacle(_read)
    raise NoUserNamespace(
        f"this user may not have a user namespace: {os.strerror(error.errno or 0).lower()}",
        hint=setting,
    ) from error


def obstacle(read: Callable[[str], str]) -> str:
    """What to change so that an ordinary user can build; `read` gives the content of a file."""
    if read("/proc/sys/user/max_user_namespaces").strip() == "0":
        return "As root: sysctl -w user.max_user_namespaces=15000"
    if read("/proc/sys/kernel/unprivileged_userns_clone").strip() == "0":
        return "As root: sysctl -w kernel.unprivileged_userns_clone=1"
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").strip() == "1":
        return "As root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    for line in read("/proc/self/status").splitlines():
        if line.startswith("Seccomp:") and line.split()[1] == "2":
            return (
                "This container's seccomp profile forbids it: "
                "start it with --security-opt seccomp=unconfined"
            )
    return "Run as root."


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def _account(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _program(name: str) -> str | None:
    for directory in ("/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin", "/sbin"):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    return None
