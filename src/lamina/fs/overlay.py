"""Mounts an overlay (Documentation/filesystems/overlayfs.rst of the kernel).

This imports nothing but system calls, because every step is forked from a process that holds it.
Layers are given one by one where the kernel knows how to (`lowerdir+`, Linux 6.7); before that, all
options have to fit into one page, so they are named relative to their common directory.
"""

from __future__ import annotations

import errno
import os

from lamina.fs import syscalls

_PAGE = 4096
_LONGEST = 255
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)

# An upper directory has to be complete in itself to become a layer, so nothing may point to the
# layers below; and it is thrown away after a crash, so the disk is spared every sync.
_EXACT = (("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"))
_VOLATILE = "volatile"


def mount_overlay(
    lower: tuple[str, ...],
    target: str,
    *,
    upper: str | None,
    work: str | None,
    user_namespace: bool,
) -> None:
    """Mounts `lower` (highest first) under `upper` at the directory `target`.

    Without `upper` it is read-only. Raises OSError with the kernel's reason. The working directory
    may change.
    """
    if not lower:
        if upper is None:
            raise OSError(errno.EINVAL, "an overlay needs at least one directory", target)
        syscalls.mount(upper, target, None, syscalls.MS_BIND)
        return
    if upper is None and len(lower) == 1:
        # The kernel wants two; a plain bind mount would show whiteouts.
        syscalls.mount("tmpfs", target, "tmpfs", syscalls.MS_NODEV, "mode=755")
        lower = (*lower, os.path.join(target, "empty"))
        os.mkdir(lower[-1])
    flags = ["userxattr"] if user_namespace else []
    flags += [_VOLATILE] if upper is not None else []
    places = [] if upper is None or work is None else [("upperdir", upper), ("workdir", work)]
    if not _one_by_one(lower, target, places, flags):
        _in_a_page(lower, target, places, flags)


def _one_by_one(
    lower: tuple[str, ...], target: str, places: list[tuple[str, str]], flags: list[str]
) -> bool:
    """False where the kernel does not know `lowerdir+`."""
    context = syscalls.open_file_system("overlay")
    held: list[int] = []
    try:
        for index, (key, path) in enumerate([("lowerdir+", path) for path in lower] + places):
            try:
                syscalls.configure(context, key, _short(path, held))
            except OSError as error:
                if index == 0 and error.errno in _UNKNOWN:
                    return False
                raise _explained(error, context, path) from error
        for flag in flags:
            _try(context, flag, None, required=flag != _VOLATILE)
        for key, value in _EXACT:
            _try(context, key, value, required=False)
        try:
            tree = syscalls.create_mount(context, 0 if places else syscalls.ATTR_RDONLY)
        except OSError as error:
            raise _explained(error, context, target) from error
        held.append(tree)
        held.append(os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        syscalls.attach(tree, held[-1])
        return True
    finally:
        for descriptor in (context, *held):
            os.close(descriptor)


def _try(context: int, key: str, value: str | None, *, required: bool) -> None:
    try:
        syscalls.configure(context, key, value)
    except OSError as error:
        if required:
            raise _explained(error, context, key) from error


def _short(path: str, held: list[int]) -> str:
    """A name that fits into an option and holds no character with a meaning there."""
    if len(os.fsencode(path)) <= _LONGEST and not any(mark in path for mark in "\\:,"):
        return path
    held.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    return f"/proc/self/fd/{held[-1]}"


def _explained(error: OSError, context: int, path: str) -> OSError:
    """The error with what the kernel has to say about it: lines such as `e overlay: ...`."""
    lines = []
    try:
        while line := os.read(context, 1024):
            lines.append(line.decode(errors="replace")[2:].strip())
    except OSError:
        pass  # there is no more
    reason = f"{error.strerror} ({'; '.join(lines)})" if lines else error.strerror
    return OSError(error.errno, reason, path)


def _in_a_page(
    lower: tuple[str, ...], target: str, places: list[tuple[str, str]], flags: list[str]
) -> None:
    common = os.path.commonpath(lower) if len(lower) > 1 else os.path.dirname(lower[0])
    names = [_escaped(os.path.relpath(directory, common)) for directory in lower]
    options = [f"lowerdir={':'.join(names)}"]
    options += [f"{key}={_escaped(path)}" for key, path in places]
    exact = [f"{key}={value}" for key, value in _EXACT]
    lasting = [flag for flag in flags if flag != _VOLATILE]
    os.chdir(common)
    # Older kernels refuse options that they do not know.
    attempts = ([*options, *flags, *exact], [*options, *lasting, *exact[:1]], [*options, *lasting])
    for number, attempt in enumerate(attempts, start=1):
        data = ",".join(attempt)
        if len(os.fsencode(data)) >= _PAGE:
            reason = f"{len(lower)} layers are too many for this kernel (Linux 6.7 takes 500)"
            raise OSError(errno.E2BIG, reason, target)
        try:
            syscalls.mount("overlay", target, "overlay", 0 if places else syscalls.MS_RDONLY, data)
            return
        except OSError as error:
            if error.errno != errno.EINVAL or number == len(attempts):
                raise


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
