"""The system calls that Python 3.11 does not offer: those of a sandbox, and openat2(2).

Imported by the process that steps are forked from, which has to stay small: nothing but ctypes
here. Every function raises OSError with the kernel's own error number.
"""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_STRICTATIME = 1 << 24
MNT_DETACH = 2

ATTR_RDONLY = 1
ATTR_NOSUID = 2
ATTR_NODEV = 4
ATTR_NOEXEC = 8

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT = 47

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_ATTEMPTS = 32
_OPEN_TREE_CLONE = 1
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MOVE_F_EMPTY_T_EMPTY = 0x04 | 0x40
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_AMBIENT_CLEAR_ALL = 4
_KEYCTL_JOIN_SESSION = 1

# System calls newer than Linux 5.1 have the same number on every architecture that matters.
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_CLOSE_RANGE = 436
_OPENAT2 = 437
_MOUNT_SETATTR = 442
_KEYCTL = {
    "x86_64": 250,
    "aarch64": 219,
    "riscv64": 219,
    "loongarch64": 219,
    "ppc64le": 271,
    "s390x": 280,
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


def _check(result: int, path: object = None) -> int:
    if result >= 0:
        return result
    code = ctypes.get_errno()
    if path is None:
        raise OSError(code, os.strerror(code))
    raise OSError(code, os.strerror(code), path)


def _call(number: int, *arguments: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(flags)))


def private_mounts() -> None:
    """Gives the process mounts of its own, which nobody else sees. Not for one with threads."""
    unshare(CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def mount(
    source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None
) -> None:
    """mount(2)."""
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            None if kind is None else kind.encode(),
            ctypes.c_ulong(flags),
            None if data is None else os.fsencode(data),
        ),
        target,
    )


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), target)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), new)


def clone_tree(descriptor: int, *, recursive: bool) -> int:
    """open_tree(2): a detached copy of the mount at `descriptor`, as a descriptor."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH
    flags |= _AT_RECURSIVE if recursive else 0
    return _check(_call(_OPEN_TREE, ctypes.c_int(descriptor), b"", ctypes.c_uint(flags)))


def set_mount_attributes(descriptor: int, attributes: int, *, recursive: bool) -> None:
    """mount_setattr(2) on the mount that `descriptor` is on. Linux 5.12."""
    words = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    size = ctypes.c_size_t(ctypes.sizeof(words))
    _check(_call(_MOUNT_SETATTR, ctypes.c_int(descriptor), b"", ctypes.c_uint(flags), words, size))


def attach(tree: int, target: int) -> None:
    """move_mount(2): puts the detached mount `tree` over the file or directory `target`."""
    _check(
        _call(
            _MOVE_MOUNT,
            ctypes.c_int(tree),
            b"",
            ctypes.c_int(target),
            b"",
            ctypes.c_uint(_MOVE_F_EMPTY_T_EMPTY),
        )
    )


def open_file_system(kind: str) -> int:
    """fsopen(2): the configuration of a file system that is to be mounted."""
    return _check(_call(_FSOPEN, kind.encode(), ctypes.c_uint(_FSOPEN_CLOEXEC)))


def configure(context: int, key: str, value: str | None) -> None:
    """fsconfig(2): sets an option, or a flag where `value` is None."""
    command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
    data = None if value is None else os.fsencode(value)
    _check(
        _call(
            _FSCONFIG,
            ctypes.c_int(context),
            ctypes.c_uint(command),
            key.encode(),
            data,
            ctypes.c_int(0),
        )
    )


def create_mount(context: int, attributes: int) -> int:
    """fsconfig(2) and fsmount(2): the configured file system, as a detached mount."""
    create = ctypes.c_uint(_FSCONFIG_CMD_CREATE)
    _check(_call(_FSCONFIG, ctypes.c_int(context), create, None, None, ctypes.c_int(0)))
    flags = ctypes.c_uint(_FSMOUNT_CLOEXEC)
    return _check(_call(_FSMOUNT, ctypes.c_int(context), flags, ctypes.c_uint(attributes)))


def openat2(root: int, path: bytes, flags: int, *, mode: int = 0, resolve: int) -> int:
    """openat2(2), with O_CLOEXEC. `mode` is 0 where nothing can be created. Linux 5.6."""
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    for _ in range(_ATTEMPTS):
        result = _call(_OPENAT2, ctypes.c_int(root), path or b".", how, size)
        # EAGAIN: something was renamed meanwhile, and `..` could not be trusted
        if result >= 0 or ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    return _check(result, path)


def open_in(root: int, path: bytes, flags: int = os.O_PATH) -> int:
    """Opens `path` as if `root` were the root directory, for symlinks and `..` too."""
    return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def close_from(first: int) -> None:
    """Closes every descriptor from `first` on. close_range(2), Linux 5.9."""
    last = ctypes.c_uint(0xFFFFFFFF)
    _check(_call(_CLOSE_RANGE, ctypes.c_uint(first), last, ctypes.c_uint(0)))


def prctl(option: int, argument: int = 0, third: int = 0) -> int:
    """prctl(2)."""
    words = [ctypes.c_ulong(word) for word in (argument, third, 0, 0)]
    return _check(_libc.prctl(ctypes.c_int(option), *words))


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    data = os.fsencode(name)
    _check(_libc.sethostname(data, ctypes.c_size_t(len(data))))


def join_new_keyring() -> None:
    """An empty session keyring, so that the caller's keys cannot be reached (keyctl(2)).

    A kernel without keyrings has nothing to hide.
    """
    number = _KEYCTL.get(os.uname().machine)
    if number is not None:
        _call(number, ctypes.c_int(_KEYCTL_JOIN_SESSION), None, 0, 0, 0)


def install_filter(program: bytes) -> None:
    """Installs a seccomp filter: `program` is an array of struct sock_filter (8 bytes each)."""
    block = _Filter(len(program) // 8, program)
    result = _libc.prctl(
        ctypes.c_int(PR_SET_SECCOMP), ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(block)
    )
    _check(result)


def drop_bounding(kept: int) -> None:
    """Takes all capabilities but those of the bit mask `kept` from the bounding set."""
    for number in range(64):
        if _libc.prctl(ctypes.c_int(PR_CAPBSET_READ), ctypes.c_ulong(number), 0, 0, 0) < 0:
            return
        if not kept >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def set_capabilities(mask: int) -> None:
    """capset(2): `mask`, as far as it is held, permitted and effective; nothing is inheritable."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, data))
    held = mask & (data[1] | data[4] << 32)
    low, high = held & 0xFFFFFFFF, held >> 32
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)))
    prctl(PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
