"""The first process of a step that an OCI runtime runs: from a fork of the zygote to the runtime.

The runtime gets a bundle (OCI runtime specification, "Filesystem Bundle") in memory, in a mount
namespace of this step's own, and is process 1 of a process tree of its own: when it is killed, the
container is, and the bundle is gone. The root is mounted already, at the staging directory.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, NoReturn

from lamina.executor import inside, rootfs, sandbox, users
from lamina.executor.wire import Job
from lamina.fs import syscalls

LOG = 4
"""The descriptor of the runtime's log: what goes wrong before the step's command is in there."""

_CGROUPS = "/sys/fs/cgroup"


def become(job: Job, trees: list[int]) -> NoReturn:
    """Turns this process into the OCI runtime. Raises CannotStart or OSError while it still can.

    `trees` are the job's mounts, detached: the runtime gets them as bind mounts.
    """
    import json

    runtime: dict[str, Any] = job["runtime"] or {}
    os.setsid()
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("proc", "/proc", "proc")
    directory = job["scratch"]
    syscalls.mount("tmpfs", directory, "tmpfs", syscalls.MS_NODEV, "mode=700")
    root = os.open(job["staging"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    identity = sandbox.identify(root, job["user"])
    make_directory(root, job, identity)
    config = runtime["config"]
    config["root"] = {"path": job["staging"], "readonly": job["read_only"]}
    config["process"]["user"] = {
        "uid": identity.uid,
        "gid": identity.gid,
        "additionalGids": list(identity.groups) if job["groups"] else [],
    }
    config["mounts"] += _mounts(job, trees, directory)
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    os.close(root)
    state = os.path.join(directory, "state")
    options = ["--root", state, "--log", f"/proc/self/fd/{LOG}", "--log-format", "json"]
    words = [runtime["program"], *options, "run", "--bundle", directory, runtime["id"]]
    os.set_inheritable(LOG, True)
    os.execve(words[0], words, {"PATH": runtime["path"]})


def make_directory(root: int, job: Job, identity: users.Identity) -> None:
    """Makes the working directory; the runtime does so inside mounts, for root."""
    path = inside.resolve(root, os.fsencode(job["cwd"]))
    for mount in job["mounts"]:
        target = inside.resolve(root, os.fsencode(mount["target"]))
        if path == target or path.startswith(target + b"/"):
            return
    for prefix in inside.missing(root, path):
        inside.create(root, prefix, directory=True)
        made = syscalls.open_in(root, prefix)
        os.chown(f"/proc/self/fd/{made}", identity.uid, identity.gid)
        os.close(made)
    found = syscalls.open_in(root, path)
    if not stat.S_ISDIR(os.fstat(found).st_mode):
        message = f"the working directory {job['cwd']} is not a directory"
        raise sandbox.CannotStart(message, status=126)
    os.close(found)


def _mounts(job: Job, trees: list[int], directory: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for index, (mount, tree) in enumerate(zip(job["mounts"], trees, strict=True)):
        place = os.path.join(directory, f"mount{index}")
        _attach(tree, place)
        access = "ro" if mount["read_only"] else "rw"
        inert = ["nosuid", "noexec"] if mount["kind"] == "file" else []
        entries.append(_bind(place, mount["target"], ["nodev", access, *inert]))
    return entries


def _attach(tree: int, place: str) -> None:
    if rootfs.is_directory(tree):
        os.mkdir(place)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    point = os.open(place, os.O_PATH | os.O_CLOEXEC)
    syscalls.attach(tree, point)
    os.close(point)
    os.close(tree)


def _bind(source: str, target: str, options: list[str]) -> dict[str, Any]:
    return {
        "destination": target,
        "type": "bind",
        "source": source,
        "options": ["rbind", *options],
    }


def remove_cgroups(name: str) -> None:
    """Takes away what a runtime that was killed leaves: empty control groups called `name`."""
    with contextlib.suppress(OSError):
        for place in (_CGROUPS, *(entry.path for entry in os.scandir(_CGROUPS) if entry.is_dir())):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(place, name))
