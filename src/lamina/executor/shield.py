"""Keeps a container from writing to the interpreter that started it.

An image whose /bin/sh is a link to /proc/self/exe, or a script that begins with `#!/proc/self/exe`,
runs the builder's own interpreter inside the container, where /proc/self/exe can then be opened for
writing: as root, that changes the interpreter of the machine (CVE-2019-5736). So the zygote puts a
read-only mount over its interpreter, in a mount namespace of its own, and starts again from there.
"""

from __future__ import annotations

import os
import sys

from lamina.fs import syscalls

_KEPT = {
    os.ST_NOSUID: syscalls.MS_NOSUID,
    os.ST_NODEV: syscalls.MS_NODEV,
    os.ST_NOEXEC: syscalls.MS_NOEXEC,
}


def boot(descriptor: int) -> None:
    """The zygote's life, behind its shield. What fails is told to the builder, at `descriptor`."""
    try:
        shield()
    except OSError as error:
        refuse(descriptor, error)
        return
    from lamina.executor import zygote

    zygote.main(descriptor)


def refuse(descriptor: int, error: OSError) -> None:
    """Reports that this machine lets this process make no namespace or mount."""
    import _socket

    from lamina.executor import wire

    reason = f"{os.strerror(error.errno or 0)} ({error.filename or 'a mount namespace'})"
    hint = "Run as root, or as a user who may create user namespaces."
    wire.send(_socket.socket(fileno=descriptor), ("failed", "host", reason, hint, 1))


def shield() -> None:
    """Returns in the process that runs from the read-only mount; otherwise becomes that process."""
    executable = os.readlink("/proc/self/exe")
    if os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return
    syscalls.unshare(syscalls.CLONE_NEWNS)
    # What the machine mounts and unmounts later has to arrive here; nothing goes the other way.
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    syscalls.mount(executable, executable, None, syscalls.MS_BIND)
    present = os.statvfs(executable).f_flag
    kept = sum(flag for seen, flag in _KEPT.items() if present & seen)
    flags = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
    syscalls.mount("none", executable, None, flags | kept)
    os.execv(executable, sys.orig_argv)
