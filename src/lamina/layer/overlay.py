"""How a layer lies on disk: the form of an overlayfs upper directory.

A whiteout is a character device 0:0. Where none can be made (on an overlay itself, which is what a
container has as its disk) a socket of a mode that no program gives stands for it: no layer can hold
a socket, and nobody mounts such layers. An opaque directory has the extended attribute
`trusted.overlay.opaque`, or `user.overlay.opaque` where a user namespace forbids the first one.
Everything else that overlayfs notes in attributes is its own business, and no part of a layer.
See Documentation/filesystems/overlayfs.rst of Linux.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from lamina.layer.entry import Entry, Kind

OPAQUE_XATTRS: Final = (b"trusted.overlay.opaque", b"user.overlay.opaque")

_CAPABILITY: Final = b"security.capability"
_NO_XATTRS: Final = (errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES)

_SUBSTITUTE: Final = stat.S_IFSOCK | 0o7000

_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}


def read_entry(path: bytes, host: bytes, status: os.stat_result) -> Entry | None:
    """The entry of the file `host`, which the layer has at `path`; a file's digest is missing.

    None for a socket, which no layer can hold. Raises OSError.
    """
    if is_whiteout(status):
        return Entry(path=path, kind=Kind.WHITEOUT)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    has_xattrs = kind in (Kind.FILE, Kind.DIRECTORY)
    xattrs, opaque = read_xattrs(host) if has_xattrs else ((), False)
    has_device = kind in (Kind.CHARACTER, Kind.BLOCK)
    return Entry(
        path=path,
        kind=kind,
        mode=0o777 if kind is Kind.SYMLINK else stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind is Kind.FILE else 0,
        mtime_ns=status.st_mtime_ns,
        link=os.readlink(host) if kind is Kind.SYMLINK else b"",
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if has_device else (0, 0),
        opaque=opaque and kind is Kind.DIRECTORY,
        xattrs=xattrs,
    )


def is_kept(name: bytes) -> bool:
    """Whether an extended attribute is a part of a layer: file capabilities and `user.*` are.

    One whose name has a "=" is not, as no tar can hold it.
    """
    if name == _CAPABILITY:
        return True
    return name.startswith(b"user.") and not name.startswith(b"user.overlay.") and b"=" not in name


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it is the device 0:0, or what stands for it, which hides what is below."""
    mode = status.st_mode
    return (stat.S_ISCHR(mode) and status.st_rdev == 0) or mode == _SUBSTITUTE


def read_xattrs(path: bytes | int) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    """The attributes of a file that a layer keeps, sorted, and whether it is opaque."""
    follow = isinstance(path, int)
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return (), False
        raise
    if not names:
        return (), False
    kept, opaque = [], False
    for text in names:
        name = os.fsencode(text)
        if name in OPAQUE_XATTRS:
            opaque = opaque or os.getxattr(path, name, follow_symlinks=follow) == b"y"
        elif is_kept(name):
            kept.append((name, os.getxattr(path, name, follow_symlinks=follow)))
    return tuple(sorted(kept)), opaque


def is_opaque(path: bytes) -> bool:
    """Whether a directory hides what lower layers have below it."""
    for name in OPAQUE_XATTRS:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError as error:
            if error.errno not in _NO_XATTRS:
                raise
    return False


def set_opaque(path: bytes | int) -> None:
    """Makes the directory hide what lower layers have below it. Raises OSError."""
    try:
        os.setxattr(path, OPAQUE_XATTRS[0], b"y")
    except PermissionError:
        os.setxattr(path, OPAQUE_XATTRS[1], b"y")


def clear_opaque(path: bytes) -> None:
    """Removes the mark again. Raises OSError."""
    for name in OPAQUE_XATTRS:
        try:
            os.removexattr(path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_XATTRS:
                raise


def needs_user_xattrs(directory: str) -> bool:
    """Whether overlays on this file system must be mounted with `userxattr`.

    Raises OSError (ENOTSUP) where it has no attributes at all.
    """
    name = OPAQUE_XATTRS[0].replace(b"opaque", b"probe")
    try:
        os.setxattr(directory, name, b"")
    except PermissionError:
        return True
    os.removexattr(directory, name)
    return False


def make_whiteout(name: bytes, *, directory: int) -> None:
    """Hides what lower layers have at `name` of the open `directory`. Raises OSError."""
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory)
    except PermissionError:
        os.mknod(name, stat.S_IFSOCK, 0, dir_fd=directory)
        os.chmod(name, stat.S_IMODE(_SUBSTITUTE), dir_fd=directory)
