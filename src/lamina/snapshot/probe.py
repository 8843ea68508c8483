"""Whether overlays can be mounted from here: tried for real, in a process of its own.

The kernel's answer depends on the user, the security modules, the file system of the store (an
overlay on an overlay, NFS and FUSE may be refused) and on whether it can hold whiteouts.
"""

from __future__ import annotations

import os

from lamina.errors import HostError
from lamina.fs.overlay import mount_overlay
from lamina.fs.syscalls import private_mounts
from lamina.layer.overlay import is_opaque, is_whiteout, needs_user_xattrs
from lamina.snapshot.store import LayerStore


def overlay_works(store: LayerStore) -> bool:
    """Whether a step can run on an overlay whose upper directory is in the store.

    Call it before threads are started. Raises HostError where the store cannot be written.
    """
    with store.work() as work:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if _try(work.path) else 1
            except (OSError, HostError):
                pass
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) == 0


def _try(path: str) -> bool:
    lower, target = f"{path}/lower", f"{path}/target"
    for name in (target, f"{lower}/there", f"{lower}/gone"):
        os.makedirs(name)
    with open(f"{lower}/file", "w", encoding="ascii") as file:
        file.write("x")
    private_mounts()
    mount_overlay(
        (lower,),
        target,
        upper=f"{path}/diff",
        work=f"{path}/work",
        user_namespace=needs_user_xattrs(path),
    )
    os.unlink(f"{target}/file")
    os.rmdir(f"{target}/gone")
    os.mkdir(f"{target}/gone")
    os.chmod(f"{target}/there", 0o700)
    upper = os.fsencode(f"{path}/diff")
    return is_whiteout(os.lstat(upper + b"/file")) and is_opaque(upper + b"/gone")
