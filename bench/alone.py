"""What package managers need by themselves: the same command in a bare root file system."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure import CommandFailed

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def unpack(rootfs: Path, root: Path) -> None:
    """A root file system with this machine's way to names of the network."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    subprocess.run(["tar", "-xpf", rootfs, "-C", root, "--exclude=./dev/*"], check=True)
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    for name in ("null", "urandom"):
        device = root / "dev" / name
        device.unlink(missing_ok=True)
        os.mknod(device, 0o20666, os.stat(f"/dev/{name}").st_rdev)
        device.chmod(0o666)  # whatever the umask


def give(root: Path, files: Mapping[str, Path]) -> None:
    """Copy files or folders to places in the root file system."""
    for place, source in files.items():
        shutil.rmtree(root / place, ignore_errors=True)
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-aT", source, root / place], check=True)


def timed(root: Path, script: str, *, folder: str = "/") -> float:
    """Seconds that a shell script takes in there."""
    command: Sequence[str | Path] = ["chroot", root, "sh", "-ec", f"cd {folder}\n{script}"]
    os.sync()
    started = time.monotonic()
    done = subprocess.run(
        command,
        env={"PATH": PATH, "HOME": "/root"},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.monotonic() - started
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace")[-2000:]
        raise CommandFailed(f"{script}: exit code {done.returncode}\n{said}")
    return seconds
