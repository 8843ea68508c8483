"""The contract of `lamina.executor.spec.Executor`: what every driver is held to.

The checks are plain functions that take a `Rig`: a driver, a small root file system and a directory
to work in. Tests call them one by one; a driver that needs another user runs them all in a process
of that user's own:

    python -m lamina.testing.executors namespaces DIRECTORY

prints one JSON object a line, {"check": NAME, "problem": null or a traceback}.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lamina.errors import LaminaError
from lamina.executor.spec import (
    ContainerSpec,
    ExitStatus,
    InteractiveExecutor,
    Mount,
    OverlayMount,
    Process,
)

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:2:2:daemon:/sbin:/bin/false
alice:x:1000:1001:Alice:/home/alice:/bin/sh
"""
GROUP = "root:x:0:\ndaemon:x:2:\nusers:x:100:alice\nwheel:x:10:alice,root\nalice:x:1001:\n"
PATH = ("PATH", "/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a container left: its status, its output, and its writable directory."""

    status: ExitStatus
    out: bytes
    err: bytes
    upper: Path

    def succeeded(self) -> bytes:
        assert self.status.code == 0, (self.status, self.out, self.err)
        return self.out


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A driver and what its checks need. `ids` is how many user ids there are; `name` the driver's.

    `real_root` is False in a user namespace.
    """

    name: str
    driver: InteractiveExecutor
    base: Path
    work: Path
    ids: int
    real_root: bool
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def spec(
        self,
        *args: str,
        env: tuple[tuple[str, str], ...] = (PATH,),
        cwd: str = "/",
        user: str = "",
        base: Path | None = None,
        **others: object,
    ) -> ContainerSpec:
        """A container on a fresh writable directory; `others` are fields of `ContainerSpec`."""
        place = self.directory()
        for name in ("upper", "work"):
            (place / name).mkdir(mode=0o755)
        root = OverlayMount(
            lower=(str(base or self.base),), upper=str(place / "upper"), work=str(place / "work")
        )
        process = Process(args=args, env=env, cwd=cwd, user=user)
        return ContainerSpec(root=root, process=process, **others)  # type: ignore[arg-type]

    def run(self, *args: str, **others: object) -> Ran:
        return self.run_spec(self.spec(*args, **others))  # type: ignore[arg-type]

    def shell(self, script: str, *mounts: Mount, **others: object) -> Ran:
        return self.run("/bin/sh", "-c", script, mounts=mounts, **others)

    def run_spec(self, spec: ContainerSpec, cancelled: threading.Event | None = None) -> Ran:
        streams: dict[int, list[bytes]] = {1: [], 2: []}
        status = self.driver.run(
            spec,
            output=lambda stream, data: streams[stream].append(data),
            cancelled=cancelled or threading.Event(),
        )
        assert isinstance(spec.root, OverlayMount)
        upper = Path(spec.root.upper or "")
        return Ran(status=status, out=b"".join(streams[1]), err=b"".join(streams[2]), upper=upper)

    def directory(self) -> Path:
        made = self.work / f"{next(self.numbers)}"
        made.mkdir()
        return made


Check = Callable[[Rig], None]


def refusal(call: Callable[[], object]) -> LaminaError:
    """The error of ours that `call` ends with."""
    try:
        result = call()
    except LaminaError as error:
        return error
    raise AssertionError(f"it was not refused: {result}")


def eventually(condition: Callable[[], bool], *, seconds: float = 10) -> bool:
    """Whether `condition` comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def busybox_root(directory: Path) -> Path:
    """A root file system of Debian's busybox-static: its commands, some users, nothing else."""
    program = shutil.which("busybox")
    assert program is not None, "busybox is missing: install busybox-static"
    for name in ("bin", "etc", "tmp", "usr/share/doc", "home/alice"):
        (directory / name).mkdir(parents=True)
    (directory / "tmp").chmod(0o1777)
    shutil.copy(program, directory / "bin/busybox")
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True)
    for name in listed.stdout.split():
        if name != "busybox":
            (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/passwd").write_text(PASSWD)
    (directory / "etc/group").write_text(GROUP)
    return directory


def make_driver(name: str, state: Path) -> InteractiveExecutor:
    """`namespaces` or `oci`."""
    if name == "namespaces":
        from lamina.executor.namespaces import NamespacesExecutor

        return NamespacesExecutor(state=str(state))
    from lamina.executor.oci import OciExecutor

    return OciExecutor(state=str(state))


def make_rig(name: str, directory: Path) -> Rig:
    """A rig in the empty `directory`, for this process as it is."""
    from lamina.executor.plan import in_user_namespace

    rows = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    work = directory / "work"
    work.mkdir()
    return Rig(
        name=name,
        driver=make_driver(name, directory / "state"),
        base=busybox_root(directory / "base"),
        work=work,
        ids=sum(int(row[2]) for row in rows),
        real_root=not in_user_namespace(),
    )


def checks() -> dict[str, Check]:
    """All checks by name, in the order in which they are told."""
    from lamina.testing import (
        executor_isolation,
        executor_lifetime,
        executor_mounts,
        executor_steps,
    )

    modules = (executor_steps, executor_mounts, executor_isolation, executor_lifetime)
    return {check.__name__: check for module in modules for check in module.CHECKS}


def main(arguments: list[str]) -> int:
    """Runs all checks; enters a user namespace where this user is not root."""
    from lamina.executor.userns import enter_user_namespace

    os.umask(0o022)
    enter_user_namespace()
    rig = make_rig(arguments[0], Path(arguments[1]))
    failed = 0
    for name, check in checks().items():
        problem = None
        try:
            check(rig)
        except Exception:
            problem = traceback.format_exc()
            failed += 1
        sys.stdout.write(json.dumps({"check": name, "problem": problem}) + "\n")
        sys.stdout.flush()
    rig.driver.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
