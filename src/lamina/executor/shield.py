"""Keeps a container from writing to the interpreter that started it.

An image whose /bin/sh is a link to /proc/self/exe, or a script that begins with `#!/proc/self/exe`,
runs the builder's own interpreter inside the container, where /proc/self/exe can then be opened for
writing: as root, that changes the interpreter of the machine (CVE-2019-5736). So the zygote puts a
read-only mount over its interpreter, in a mount namespace of its own, and starts again from there.
"""

from __future__ import annotations

import os
import sys

from lamina.executor import syscalls

_KEPT = {
    os.ST_NOSUID: syscalls.MS_NOSUID,
    os.ST_NODEV: syscalls.MS_NODEV,
    os.ST_NOEXEC: syscalls.MS_NOEXEC,
}


def shield() -> bool:
    """True in the process that runs from the read-only mount; otherwise becomes that process."""
    executable = os.readlink("/proc/self/exe")
    if os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return True
    syscalls.unshare(syscalls.CLONE_NEWNS)
    # What the machine mounts and unmounts later has to arrive here; nothing goes the other way.
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    syscalls.mount(executable, executable, None, syscalls.MS_BIND)
    present = os.statvfs(executable).f_flag
    kept = sum(flag for seen, flag in _KEPT.items() if present & seen)
    flags = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
    syscalls.mount("none", executable, None, flags | kept)
    os.execv(executable, sys.orig_argv)
    return False
