"""`make bench`: Lamina beside buildah on the same work, in turns, on one fresh file system.

    python -m bench.run [--rounds N] [--only WORDS] [--out FOLDER]

Prints a Markdown table of medians and ratios, and writes it with the numbers of every round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from bench.builders import BuildahBuilder, Builder, LaminaBuilder
from bench.measure import Cost, measure
from bench.scenarios import Scenario, big_file, cached, run_overhead, small_files
from tests.support.bases import write_layout
from tools.bases import busybox_rootfs

SCENARIOS = [
    scenario
    for module in (cached, run_overhead, small_files, big_file)
    for scenario in module.SCENARIOS
]
DISK = 16 << 30  # bytes; sparse, so only what is used counts
MIB = 1 << 20
Costs = dict[str, list[Cost]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="scenarios whose name contains these words")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked = parser.parse_args()
    results: dict[str, Costs] = {}
    with fresh_disk() as disk:
        (disk / "busybox.tar").write_bytes(busybox_rootfs())
        write_layout(disk / "busybox", busybox_rootfs())
        for scenario in SCENARIOS:
            if asked.only in scenario.name:
                results[scenario.name] = run(scenario, disk, asked.rounds)
    table = render(results)
    print(table)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "bench.md").write_text(table)
    numbers = {n: {b: [asdict(c) for c in cs] for b, cs in r.items()} for n, r in results.items()}
    (asked.out / "bench.json").write_text(json.dumps(numbers, indent=1))
    return 0


def run(scenario: Scenario, disk: Path, rounds: int) -> Costs:
    """Measure one scenario, the builders in turns."""
    context = disk / "context"
    context.mkdir()
    scenario.prepare(context)
    builders: list[Builder] = [
        LaminaBuilder(state=disk / "lamina", rootfs=disk / "busybox.tar"),
        BuildahBuilder(state=disk / "buildah", layout=disk / "busybox"),
    ]
    costs: Costs = {builder.name: [] for builder in builders}
    try:
        for builder in builders:
            builder.fresh()
            once(builder, scenario, disk)  # warms the page cache, and the layer cache
        for _ in range(rounds):
            for builder in builders:
                if scenario.cold:
                    builder.fresh()
                cost = once(builder, scenario, disk)
                costs[builder.name].append(cost)
                print(f"{scenario.name}: {builder.name} {cost.seconds:.2f} s", file=sys.stderr)
    finally:
        for builder in builders:
            builder.close()
        shutil.rmtree(context)
    return costs


def once(builder: Builder, scenario: Scenario, disk: Path) -> Cost:
    archive = disk / "image.tar" if scenario.export else None
    try:
        return measure(builder.command(disk / "context", archive), builder.env())
    finally:
        (disk / "image.tar").unlink(missing_ok=True)


@contextlib.contextmanager
def fresh_disk() -> Iterator[Path]:
    """An empty ext4 on a loop device, so that every run starts alike; else a folder."""
    with tempfile.TemporaryDirectory(prefix="lamina-bench-", dir="/var/tmp") as scratch:
        disk = Path(scratch) / "disk"
        disk.mkdir()
        mounted = os.geteuid() == 0 and mount_ext4(Path(scratch) / "disk.img", disk)
        if not mounted:
            print("no loop device to be had: measuring on this file system", file=sys.stderr)
        try:
            yield disk
        finally:
            if mounted:
                subprocess.run(["umount", disk], check=True)


def mount_ext4(image: Path, place: Path) -> bool:
    with image.open("wb") as stream:
        stream.truncate(DISK)
    try:
        for command in (f"mkfs.ext4 -q {image}", f"mount -o loop {image} {place}"):
            subprocess.run(command.split(), check=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def render(results: dict[str, Costs]) -> str:
    """A table of medians; the ratio is what counts, the seconds belong to the machine."""
    lines = [
        "| scenario | lamina | buildah | ratio | lamina CPU | lamina memory | buildah memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, costs in results.items():
        ours, theirs = costs["lamina"], costs["buildah"]
        mine = statistics.median(cost.seconds for cost in ours)
        other = statistics.median(cost.seconds for cost in theirs)
        cpu = statistics.median(cost.cpu for cost in ours)
        memory = [max(cost.memory for cost in costs) // MIB for costs in (ours, theirs)]
        lines.append(
            f"| {name} | {mine:.2f} s | {other:.2f} s | {mine / other:.2f} "
            f"| {cpu:.2f} s | {memory[0]} MiB | {memory[1]} MiB |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
