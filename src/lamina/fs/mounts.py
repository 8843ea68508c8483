"""The mount system calls (mount(2), fsopen(2), fsconfig(2)), which Python lacks.

Every function changes the mount namespace that its caller is in: call them in a process that has
one of its own. Errors are `MountFailed`, with the kernel's own reason where it gives one.

An overlay of many layers does not fit into the one page of options that mount(2) takes, so the
layers are given one by one where the kernel knows how to (`lowerdir+`, Linux 6.7), and by short
names relative to their common directory where it does not.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from lamina.errors import HostError

MS_RDONLY: Final = 1
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

_ATTR_RDONLY: Final = 1

_CLONE_NEWNS: Final = 0x20000
_AT_FDCWD: Final = -100
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_SET_FLAG: Final = 0
_SET_STRING: Final = 1
_CMD_CREATE: Final = 6

# These numbers are the same on every architecture but alpha (they are all newer than Linux 5.1).
_SYS_MOVE_MOUNT: Final = 429
_SYS_FSOPEN: Final = 430
_SYS_FSCONFIG: Final = 431
_SYS_FSMOUNT: Final = 432

_PAGE: Final = 4096
_FSCONFIG_STRING: Final = 255
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


class MountFailed(HostError):
    """The kernel refused a mount; `errno` says why."""

    def __init__(self, message: str, *, code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errno = code


def mount(
    source: str | None,
    target: str,
    kind: str | None = None,
    *,
    flags: int = 0,
    data: str | None = None,
) -> None:
    """mount(2), as it is."""
    result = _libc().mount(_c(source), _c(target), _c(kind), ctypes.c_ulong(flags), _c(data))
    if result != 0:
        raise _failed(f"mounting {kind or source or 'it'} on {target}", ctypes.get_errno())


def unmount(target: str, *, detach: bool = True) -> None:
    """umount2(2); `detach` hides it now and lets it go when nothing uses it any more."""
    flags = UMOUNT_NOFOLLOW | (MNT_DETACH if detach else 0)
    if _libc().umount2(_c(target), flags) != 0:
        raise _failed(f"unmounting {target}", ctypes.get_errno())


def unshare_mounts() -> None:
    """Gives this process mounts of its own, which no other sees."""
    if _libc().unshare(ctypes.c_int(_CLONE_NEWNS)) != 0:
        raise _failed("making a mount namespace", ctypes.get_errno())
    mount(None, "/", flags=MS_PRIVATE | MS_REC)


def bind(source: str, target: str) -> None:
    """Shows the directory `source`, without what is mounted in it, at `target`."""
    mount(source, target, flags=MS_BIND)


def mount_overlay(
    *,
    lower: Sequence[str],
    target: str,
    upper: str | None = None,
    work: str | None = None,
    userxattr: bool = False,
    volatile: bool = True,
) -> None:
    """Mounts `lower` (directories, highest first) under `upper` at `target`.

    Without `upper` the mount is read-only. `userxattr` is needed in a user namespace. `volatile`
    spares the disk every sync: right for an upper directory that is thrown away after a crash.

    Directory renames and metadata copies are off: an upper directory is complete in itself, so
    that it can become a layer. Where the kernel is too old for `lowerdir+`, the working directory
    changes for a moment.
    """
    if upper is None and not lower:
        raise MountFailed("an overlay needs at least one directory", code=errno.EINVAL)
    if upper is not None and not lower:
        bind(upper, target)
        return
    if upper is None and len(lower) == 1:
        # The kernel wants two lower directories; a plain bind mount would show whiteouts.
        mount("tmpfs", target, "tmpfs", data="mode=755")
        empty = os.path.join(target, "empty")
        os.mkdir(empty)
        lower = (*lower, empty)
    flags = ["userxattr"] if userxattr else []
    if upper is not None and volatile:
        flags.append("volatile")
    if not _overlay_one_by_one(lower, target, upper=upper, work=work, flags=flags):
        _overlay_in_a_page(lower, target, upper=upper, work=work, flags=flags)


def _overlay_one_by_one(
    lower: Sequence[str], target: str, *, upper: str | None, work: str | None, flags: Sequence[str]
) -> bool:
    """False where the kernel does not know the new interface."""
    call = _libc().syscall
    context = call(ctypes.c_long(_SYS_FSOPEN), b"overlay", ctypes.c_uint(_FSOPEN_CLOEXEC))
    if context < 0:
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            return False
        raise _failed(f"mounting an overlay on {target}", code)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, context)
        if not _configure(stack, context, lower, upper=upper, work=work, flags=flags):
            return False
        if _fsconfig(context, _CMD_CREATE, None, None) != 0:
            code = ctypes.get_errno()
            raise _failed(f"mounting an overlay on {target}", code, reason=_log(context))
        attributes = _ATTR_RDONLY if upper is None else 0
        made = call(
            ctypes.c_long(_SYS_FSMOUNT),
            ctypes.c_int(context),
            ctypes.c_uint(_FSMOUNT_CLOEXEC),
            ctypes.c_uint(attributes),
        )
        if made < 0:
            raise _failed(
                f"mounting an overlay on {target}", ctypes.get_errno(), reason=_log(context)
            )
        stack.callback(os.close, made)
        moved = call(
            ctypes.c_long(_SYS_MOVE_MOUNT),
            ctypes.c_int(made),
            b"",
            ctypes.c_int(_AT_FDCWD),
            _c(target),
            ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
        )
        if moved != 0:
            raise _failed(f"mounting an overlay on {target}", ctypes.get_errno())
    return True


def _configure(
    stack: contextlib.ExitStack,
    context: int,
    lower: Sequence[str],
    *,
    upper: str | None,
    work: str | None,
    flags: Sequence[str],
) -> bool:
    """Hands over the options. False where `lowerdir+` is not known."""
    _fsconfig(context, _SET_STRING, b"source", b"overlay")
    for index, directory in enumerate(lower):
        with _short(directory) as name:
            if _fsconfig(context, _SET_STRING, b"lowerdir+", name) == 0:
                continue
            code = ctypes.get_errno()
        if index == 0 and code in _UNKNOWN:
            return False
        raise _failed(f"using {directory} in an overlay", code, reason=_log(context))
    for key, path in ((b"upperdir", upper), (b"workdir", work)):
        if path is None:
            continue
        # The name is looked up when it is given on some kernels, on creation on others.
        name = stack.enter_context(_short(path))
        if _fsconfig(context, _SET_STRING, key, name) != 0:
            raise _failed(f"using {path} in an overlay", ctypes.get_errno(), reason=_log(context))
    for flag in flags:
        if _fsconfig(context, _SET_FLAG, flag.encode(), None) != 0 and flag != "volatile":
            raise _failed("mounting an overlay", ctypes.get_errno(), reason=_log(context))
    for option, value in _EXACT:
        _fsconfig(context, _SET_STRING, option.encode(), value.encode())
    return True


# Off where the kernel knows them; where it does not, there is nothing to turn off.
_EXACT: Final = (("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"))


def _overlay_in_a_page(
    lower: Sequence[str], target: str, *, upper: str | None, work: str | None, flags: Sequence[str]
) -> None:
    common = os.path.commonpath(lower) if len(lower) > 1 else os.path.dirname(lower[0])
    with contextlib.ExitStack() as stack:
        here = os.open(".", os.O_PATH | os.O_CLOEXEC)
        stack.callback(os.close, here)
        target = os.path.join(os.getcwd(), target)
        names = [os.path.relpath(directory, common) for directory in lower]
        options = ["lowerdir=" + ":".join(_escaped(name) for name in names)]
        if upper is not None and work is not None:
            options += [f"upperdir={_escaped(os.path.abspath(upper))}"]
            options += [f"workdir={_escaped(os.path.abspath(work))}"]
        exact = [f"{key}={value}" for key, value in _EXACT]
        os.chdir(common)
        stack.callback(os.fchdir, here)
        # Older kernels refuse options that they do not know.
        attempts = (
            [*options, *flags, *exact],
            [*options, *(flag for flag in flags if flag != "volatile"), *exact[:1]],
            [*options, *(flag for flag in flags if flag != "volatile")],
        )
        for number, attempt in enumerate(attempts, start=1):
            data = ",".join(attempt)
            if len(os.fsencode(data)) >= _PAGE:
                raise MountFailed(
                    f"{len(lower)} layers do not fit into an overlay on this kernel",
                    code=errno.E2BIG,
                    hint="Linux 6.7 takes up to 500 layers; a shorter --root takes more of them.",
                )
            try:
                mount("overlay", target, "overlay", data=data, flags=MS_RDONLY if not upper else 0)
                return
            except MountFailed as refused:
                if refused.errno != errno.EINVAL or number == len(attempts):
                    raise


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


@contextlib.contextmanager
def _short(path: str) -> Iterator[bytes]:
    """A name for `path` that fits into an option and holds no character with a meaning there."""
    name = os.fsencode(path)
    if len(name) <= _FSCONFIG_STRING and not any(mark in name for mark in b"\\:,"):
        yield name
        return
    try:
        descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _failed(f"using {path} in an overlay", error.errno or errno.ENOENT) from error
    try:
        yield b"/proc/self/fd/%d" % descriptor
    finally:
        os.close(descriptor)


def _fsconfig(context: int, command: int, key: bytes | None, value: bytes | None) -> int:
    result: int = _libc().syscall(
        ctypes.c_long(_SYS_FSCONFIG),
        ctypes.c_int(context),
        ctypes.c_uint(command),
        key,
        value,
        ctypes.c_int(0),
    )
    return result


def _log(context: int) -> str:
    """What the kernel has to say about a refused mount: lines such as `e overlay: ...`."""
    lines = []
    with contextlib.suppress(OSError):
        while line := os.read(context, 1024):
            lines.append(line.decode(errors="replace")[2:].strip())
    return "; ".join(lines)


def _failed(what: str, code: int, *, reason: str = "") -> MountFailed:
    detail = os.strerror(code) + (f" ({reason})" if reason else "")
    return MountFailed(f"{what} failed: {detail}", code=code, hint=_HINTS.get(code))


_HINTS: Final = {
    errno.EPERM: "This process may not mount here: run as root, or allow user namespaces.",
    errno.EACCES: "This process may not mount here: run as root, or allow user namespaces.",
    errno.ENODEV: "This kernel has no such file system.",
    errno.ENOSPC: "There are too many mounts (see /proc/sys/fs/mount-max) or the disk is full.",
}


def _c(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


@functools.cache
def _libc() -> Any:  # noqa: ANN401 - a C library has no type
    return ctypes.CDLL(None, use_errno=True)
