"""What a step's process needs, as values, and the port that every driver implements."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec


class Network(enum.Enum):
    """`HOST` shares the machine's network; `NONE` has a loopback device alone."""

    HOST = "host"
    NONE = "none"


class OverlayMount(msgspec.Struct, frozen=True, kw_only=True):
    """Unpacked layers, highest first, under a writable directory.

    `upper` and `work` are on one file system, and no mount has used `work` before; both None makes
    the mount read-only. As the root, the mode and owner of `upper` are those of the container's /.
    With `subpath` (absolute, resolved inside the mounted tree) only that directory or file of it is
    shown at `target`; the rest of the tree is nowhere to be seen.
    """

    lower: tuple[str, ...]
    upper: str | None = None
    work: str | None = None
    target: str = "/"
    subpath: str = "/"


class BindMount(msgspec.Struct, frozen=True, kw_only=True):
    """A file or directory of the host. Its target is created where it is missing.

    With `subpath` only that part of `source` is shown; symlinks and `..` cannot lead out of it.
    """

    source: str
    target: str
    read_only: bool = True
    subpath: str = "/"


class TmpfsMount(msgspec.Struct, frozen=True, kw_only=True):
    """A file system in memory; `size` in bytes, 0 for the kernel's default."""

    target: str
    size: int = 0
    mode: int = 0o1777


class FileMount(msgspec.Struct, frozen=True, kw_only=True):
    """A read-only file in memory (a secret): `content` is written to no disk."""

    target: str
    content: bytes
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


Mount = OverlayMount | BindMount | TmpfsMount | FileMount


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """`user` is what the Dockerfile says (`name`, `uid`, `user:group`, or ""), looked up in the
    image's /etc/passwd and /etc/group. `cwd` is created where it is missing. `env` is complete:
    nothing of the builder's own environment is added (but HOME and PATH, where they are not set).
    """

    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    terminal: bool = False


class Ulimit(msgspec.Struct, frozen=True, kw_only=True):
    """A resource limit by Docker's name (`nofile`); -1 is unlimited."""

    name: str
    soft: int
    hard: int


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of all processes of a container together; 0 and "" are none.

    `memory` in bytes; `memory_swap` is that of memory and swap together, -1 for any. `cpu_shares`
    is a weight (1024 is usual), `cpu_quota` the microseconds of processor time in each `cpu_period`
    (0: 100 ms). `cpuset_cpus` and `cpuset_mems` are lists such as `0-3,5` (cpuset(7)).
    """

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""


NO_LIMITS = Resources()


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A process in a root file system.

    `root` is mounted first; `mounts` after it, in order. Paths of mounts are those inside the
    container. Mount points that were made for a mount and are still empty afterwards are removed.
    `extra_hosts` are (name, address). A root that is a `BindMount` is read-only where it says so.
    """

    root: OverlayMount | BindMount
    mounts: tuple[Mount, ...] = ()
    process: Process
    network: Network = Network.HOST
    hostname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 64 * 1024 * 1024
    read_only: bool = False
    resources: Resources = NO_LIMITS


class OutOfMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel has killed a process for lack of memory.

    `process` is its name and `used` the bytes that it held, where the kernel's log may be read.
    `peak` is the most that the whole container held and `limit` what it was allowed, where it had a
    limit of its own. What is not known is "" or 0.
    """

    process: str = ""
    used: int = 0
    peak: int = 0
    limit: int = 0


class ExitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the process ended: `code` is its exit code, or 128 + the signal that killed it.

    `out_of_memory`: it failed, and meanwhile the kernel killed it or another for lack of memory.
    """

    code: int
    signal: int = 0
    out_of_memory: OutOfMemory | None = None


OutputSink = Callable[[int, bytes], None]
"""Takes the stream (1 standard output, 2 standard error) and some of its bytes."""


class Executor(Protocol):
    """Runs one process and waits for it.

    The whole process tree and every mount are gone when `run` returns, however it returns.
    Raises UserError where the command or the user does not exist in the image,
    and HostError where the machine refuses the sandbox.
    """

    def run(
        self, spec: ContainerSpec, *, output: OutputSink, cancelled: threading.Event
    ) -> ExitStatus: ...

    def close(self) -> None: ...


class InteractiveExecutor(Executor, Protocol):
    """An executor that a user may sit in front of, and that says what protection it lacks."""

    notes: tuple[str, ...]

    def prepare(self) -> None:
        """Get ready, so that the first step need not wait; `notes` are known afterwards."""
        ...

    def run_attached(self, spec: ContainerSpec, *, terminal: bool) -> ExitStatus: ...
