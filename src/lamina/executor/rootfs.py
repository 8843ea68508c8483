"""What a container sees: its root, /proc, /dev, /sys, and the mounts of the step.

Everything here happens in a mount namespace of the container's own. The file systems under /proc,
/dev and /sys, and the paths that are hidden or read-only, are those of the OCI runtime
specification's "default filesystems" and of Docker's defaults.

No mount but single device files carries devices: a process with CAP_MKNOD may make a device node
(layers may hold them), but cannot open it. That does the work of the device cgroup.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from lamina.executor import inside
from lamina.executor.wire import Job, MountJob
from lamina.fs import overlay, syscalls
from lamina.fs.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY

DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_PLAIN = MS_NOSUID | MS_NODEV | MS_NOEXEC
_INERT = syscalls.ATTR_RDONLY | syscalls.ATTR_NOSUID | syscalls.ATTR_NODEV | syscalls.ATTR_NOEXEC
_DEV_SIZE = 64 << 20
_FILE_SIZE = 64 << 20


def mount_root(job: Job) -> int:
    """Mounts the root at the staging directory; a descriptor of it."""
    staging, root = job["staging"], job["root"]
    if root["kind"] == "overlay":
        _overlay(root, staging, user_namespace=job["user_namespace"])
    else:
        syscalls.mount(root["source"], staging, None, syscalls.MS_BIND)
    descriptor = os.open(staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.set_mount_attributes(descriptor, syscalls.ATTR_NODEV, recursive=False)
    return descriptor


def tree(mount: MountJob, scratch: str, *, user_namespace: bool) -> int:
    """What a mount shows, as a detached mount. `scratch` is an empty directory.

    OSError where the source does not exist.
    """
    if mount["kind"] == "bind":
        with _source(mount) as source:
            return syscalls.clone_tree(source, recursive=True)
    if mount["kind"] == "overlay":
        _overlay(mount, scratch, user_namespace=user_namespace)
    elif mount["kind"] == "tmpfs":
        options = f"mode={mount['mode']:o}" + (f",size={mount['size']}" if mount["size"] else "")
        syscalls.mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, options)
    else:
        syscalls.mount("tmpfs", scratch, "tmpfs", _PLAIN, f"mode=700,size={_FILE_SIZE}")
    try:
        if mount["kind"] == "file":
            _write_file(mount, os.path.join(scratch, "file"))
        return _clone_inside(scratch, "file" if mount["kind"] == "file" else mount["subpath"])
    finally:
        syscalls.unmount(scratch, syscalls.MNT_DETACH)


def is_directory(shown: int) -> bool:
    """Whether the detached mount `shown` is a directory (or a file)."""
    return stat.S_ISDIR(os.fstat(shown).st_mode)


def assemble(root: int, job: Job, trees: list[int]) -> None:
    """Mounts everything inside the directory `root`; `trees` are the job's mounts, detached."""
    _proc(root)
    _dev(root, shm_size=job["shm_size"])
    _sys(root, cgroup=job["cgroup_namespace"])
    for mount, shown in zip(job["mounts"], trees, strict=True):
        attributes = syscalls.ATTR_NODEV | (syscalls.ATTR_RDONLY if mount["read_only"] else 0)
        attributes |= _INERT if mount["kind"] == "file" else 0
        _place(root, mount["target"], shown, attributes)
    for path in MASKED:
        _mask(root, path)
    for path in READ_ONLY:
        _read_only(root, path)
    if job["read_only"]:
        syscalls.set_mount_attributes(root, syscalls.ATTR_RDONLY, recursive=False)


def _write_file(mount: MountJob, path: str) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(mount["content"])
        os.fchown(descriptor, mount["uid"], mount["gid"])
        os.fchmod(descriptor, mount["mode"])


def _overlay(mount: MountJob, target: str, *, user_namespace: bool) -> None:
    overlay.mount_overlay(
        mount["lower"],
        target,
        upper=mount["upper"],
        work=mount["work"],
        user_namespace=user_namespace,
    )


def _clone_inside(directory: str, subpath: str) -> int:
    top = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = syscalls.open_in(top, os.fsencode(subpath).lstrip(b"/"))
        try:
            return syscalls.clone_tree(found, recursive=False)
        finally:
            os.close(found)
    finally:
        os.close(top)


@contextlib.contextmanager
def _source(mount: MountJob) -> Iterator[int]:
    """A descriptor of what a bind mount shows; its subpath cannot lead out of its source."""
    descriptor = os.open(mount["source"], os.O_PATH | os.O_CLOEXEC)
    try:
        if mount["subpath"].strip("/"):
            inner = syscalls.open_in(descriptor, os.fsencode(mount["subpath"]).lstrip(b"/"))
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _place(root: int, target: str, shown: int, attributes: int) -> None:
    """Puts a detached mount at `target`, made where it is missing."""
    try:
        syscalls.set_mount_attributes(shown, attributes, recursive=True)
        point = inside.mount_point(root, os.fsencode(target), directory=is_directory(shown))
        try:
            syscalls.attach(shown, point)
        except OSError as error:
            raise OSError(error.errno, error.strerror, target) from error
        finally:
            os.close(point)
    finally:
        os.close(shown)


@contextlib.contextmanager
def _target(root: int, path: str, *, directory: bool) -> Iterator[str]:
    """A name for a mount point that nobody can exchange for another."""
    point = inside.mount_point(root, os.fsencode(path), directory=directory)
    try:
        yield f"/proc/self/fd/{point}"
    finally:
        os.close(point)


def _proc(root: int) -> None:
    with _target(root, "/proc", directory=True) as target:
        try:
            syscalls.mount("proc", target, "proc", _PLAIN)
        except PermissionError as error:
            # A user namespace gets a /proc of its own only where the one outside is whole.
            reason = "a new /proc may not be mounted, because parts of the present one are hidden"
            raise OSError(error.errno, reason) from error


def _dev(root: int, *, shm_size: int) -> None:
    with _target(root, "/dev", directory=True) as target:
        flags = MS_NOSUID | MS_NODEV | syscalls.MS_STRICTATIME
        syscalls.mount("tmpfs", target, "tmpfs", flags, f"mode=755,size={_DEV_SIZE}")
    for name in DEVICES:
        with _target(root, f"/dev/{name}", directory=False) as target:
            syscalls.mount(f"/dev/{name}", target, None, syscalls.MS_BIND)
    dev = syscalls.open_in(root, b"dev")
    try:
        for name, link in LINKS:
            os.symlink(link, name, dir_fd=dev)
    finally:
        os.close(dev)
    with _target(root, "/dev/pts", directory=True) as target:
        _devpts(target)
    with _target(root, "/dev/shm", directory=True) as target:
        syscalls.mount("shm", target, "tmpfs", _PLAIN, f"mode=1777,size={shm_size}")
    with _target(root, "/dev/mqueue", directory=True) as target:
        syscalls.mount("mqueue", target, "mqueue", _PLAIN)


def _devpts(target: str) -> None:
    options = "newinstance,ptmxmode=0666,mode=0620"
    try:
        syscalls.mount("devpts", target, "devpts", MS_NOSUID | MS_NOEXEC, options + ",gid=5")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The group of terminals has no id in this user namespace.
        syscalls.mount("devpts", target, "devpts", MS_NOSUID | MS_NOEXEC, options)


def _sys(root: int, *, cgroup: bool) -> None:
    try:
        with _target(root, "/sys", directory=True) as target:
            syscalls.mount("sysfs", target, "sysfs", _PLAIN | MS_RDONLY)
    except PermissionError:
        # A user namespace gets a sysfs of its own only with a network of its own.
        host = os.open("/sys", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        shown = syscalls.clone_tree(host, recursive=True)
        os.close(host)
        _place(root, "/sys", shown, _INERT)
    if cgroup:
        # Programs ask it for their limits; a container without it is no less a container.
        with contextlib.suppress(OSError), _target(root, "/sys/fs/cgroup", directory=True) as at:
            syscalls.mount("cgroup", at, "cgroup2", _PLAIN | MS_RDONLY)


def _mask(root: int, path: str) -> None:
    """Hides a path: a file behind /dev/null, a directory behind an empty one."""
    try:
        point = syscalls.open_in(root, os.fsencode(path))
    except OSError:
        return
    target = f"/proc/self/fd/{point}"
    try:
        if stat.S_ISDIR(os.fstat(point).st_mode):
            syscalls.mount("tmpfs", target, "tmpfs", _PLAIN | MS_RDONLY, "size=0k,mode=755")
        else:
            syscalls.mount("/dev/null", target, None, syscalls.MS_BIND)
    finally:
        os.close(point)


def _read_only(root: int, path: str) -> None:
    try:
        point = syscalls.open_in(root, os.fsencode(path))
    except OSError:
        return
    try:
        shown = syscalls.clone_tree(point, recursive=True)
        try:
            syscalls.set_mount_attributes(shown, _INERT, recursive=True)
            syscalls.attach(shown, point)
        finally:
            os.close(shown)
    finally:
        os.close(point)
