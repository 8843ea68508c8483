"""What the machine itself can do with the same bytes: the limits that no builder gets past."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.scenarios import small_files
from bench.scenarios.big_file import write_big

ISAL = """
import sys
from isal import igzip_threaded
with open(sys.argv[1], "rb") as big, igzip_threaded.open("/dev/null", "wb", threads=-1) as out:
    while block := big.read(1 << 20):
        out.write(block)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What one command took, best of the rounds."""

    name: str
    seconds: float
    size: int  # bytes


def measure_limits(disk: Path, python: str, rounds: int) -> list[Limit]:
    """The page cache is warm, as it is for the builders."""
    big, files = disk / "big", disk / "small"
    write_big(big)
    files.mkdir()
    small_files.prepare(files)
    commands: dict[str, tuple[list[str], Path]] = {
        "cat FILE >/dev/null, 1 GiB": (["cat", str(big)], big),
        "sha256sum, 1 GiB": (["sha256sum", str(big)], big),
        "cp -a, 1 GiB": (["cp", "-a", str(big), str(disk / "copy")], big),
        "cp -a, 10,000 files": (["cp", "-a", str(files), str(disk / "copy")], files),
        "isal (gzip) alone, 1 GiB": ([python, "-c", ISAL, str(big)], big),
    }
    if shutil.which("zstd"):
        zstd = ["zstd", "-3", "-T0", "-q", "-c", str(big)]
        commands["zstd -3 alone, 1 GiB"] = (zstd, big)
    return [
        Limit(name=name, seconds=best(command, disk, rounds), size=size_of(path))
        for name, (command, path) in commands.items()
    ]


def best(command: list[str], disk: Path, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        subprocess.run(["rm", "-rf", disk / "copy"], check=True)
        subprocess.run(["sync"], check=True)
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - started)
    return min(times)


def size_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
