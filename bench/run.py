"""`make bench`: Lamina beside every other builder of this machine, on the same work, in turns.

    python -m bench.run [--rounds N] [--only WORDS] [--network] [--out FOLDER]

Writes the report as Markdown, JSON and SVG, and prints the first.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import advice, chart, growth, report
from bench.builders import (
    Base,
    Builder,
    CannotRun,
    buildah,
    buildctl,
    docker,
    kaniko,
    lamina,
    podman,
)
from bench.disk import fresh_disk
from bench.limits import Limit, measure_limits
from bench.machine import facts
from bench.report import Report, Result
from bench.scenarios import (
    NotYet,
    Scenario,
    apt,
    big_file,
    cached,
    independent_stages,
    many_steps,
    node,
    one_change,
    remote,
    run_overhead,
    small_files,
)
from bench.turns import Turns
from tests.support.bases import write_layout
from tools.bases import busybox_rootfs, debian_rootfs

FINDERS: Mapping[str, Callable[[Path], Builder]] = {
    "lamina": lamina.find,
    "buildctl": buildctl.find,
    "docker": docker.find,
    "buildah": buildah.find,
    "podman": podman.find,
    "kaniko": kaniko.find,
}
SCENARIOS: tuple[Scenario | NotYet, ...] = tuple(
    scenario
    for module in (
        cached,
        one_change,
        run_overhead,
        small_files,
        big_file,
        independent_stages,
        apt,
        node,
        many_steps,
    )
    for scenario in module.SCENARIOS
)
NO_NETWORK = "asks mirrors on the network: run with --network"
GROWTH, LIMITS = "growth", "limits"


def main() -> int:
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # unmounts
    with tempfile.TemporaryDirectory(prefix="lamina-bench-", dir="/var/tmp") as name:
        found = Bench(scratch=Path(name), asked=asked).run()
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "bench.json").write_text(report.to_json(found))
    (asked.out / "bench.md").write_text(report.to_markdown(found))
    (asked.out / "bench.svg").write_text(chart.to_svg(found.results))
    print(report.to_markdown(found))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="the most that are counted")
    parser.add_argument("--only", default="", help="scenarios whose name contains these words")
    parser.add_argument("--network", action="store_true", help="also what asks package mirrors")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    return parser.parse_args()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run of the benchmark. `scratch` holds the file system that is measured on."""

    scratch: Path
    asked: argparse.Namespace

    def run(self) -> Report:
        machine = facts()
        builders, absent = self.find_builders()
        bases = {"busybox": self.base("busybox", busybox_rootfs())}
        results = []
        for scenario in SCENARIOS:
            if self.asked.only not in scenario.name:
                continue
            if isinstance(scenario, NotYet):
                results.append(Result(name=scenario.name, not_yet=scenario.reason))
            elif scenario.network and not self.asked.network:
                results.append(Result(name=scenario.name, not_yet=NO_NETWORK))
            else:
                if scenario.base not in bases:
                    packages = {"node": ("nodejs", "npm")}.get(scenario.base, ())
                    rootfs = debian_rootfs(*packages).read_bytes()
                    bases[scenario.base] = self.base(scenario.base, rootfs)
                results.append(self.compare(scenario, bases[scenario.base], builders))
        return Report(
            machine=machine,
            builders={b.name: f"{b.version} ({b.flags})" for b in builders},
            absent=absent,
            results=results,
            limits=self.limits(),
            exchanges=self.exchanges(builders[0], bases["busybox"]),
            curves=self.curves(builders[0], bases["busybox"]),
            advice=self.advice(),
        )

    def find_builders(self) -> tuple[list[Builder], dict[str, str]]:
        builders: list[Builder] = []
        absent = {}
        for name, find in FINDERS.items():
            with fresh_disk(self.scratch) as disk:
                try:
                    builders.append(find(disk))
                    builders[-1].close()
                except CannotRun as error:
                    absent[name] = " ".join(str(error).split())
        return builders, absent

    def base(self, name: str, rootfs: bytes) -> Base:
        base = Base(name=name, tar=self.scratch / f"{name}.tar", layout=self.scratch / name)
        base.tar.write_bytes(rootfs)
        write_layout(base.layout, rootfs)
        return base

    def limits(self) -> list[Limit]:
        if self.asked.only not in LIMITS:
            return []
        with fresh_disk(self.scratch) as disk:
            return measure_limits(disk, sys.executable, min(self.asked.rounds, 3))

    def exchanges(self, builder: Builder, base: Base) -> list[remote.Exchange]:
        if self.asked.only not in remote.NAME or not isinstance(builder, lamina.LaminaBuilder):
            return []
        with fresh_disk(self.scratch) as disk:
            return remote.exchanges(builder, base, disk, min(self.asked.rounds, 3))

    def curves(self, builder: Builder, base: Base) -> list[growth.Curve]:
        if self.asked.only not in GROWTH:
            return []
        with fresh_disk(self.scratch) as disk:
            return growth.curves(builder, base, disk, min(self.asked.rounds, 3))

    def advice(self) -> list[advice.Advice]:
        if self.asked.only not in advice.NAME:
            return []
        with fresh_disk(self.scratch) as disk:
            return advice.measure(disk)

    def compare(self, scenario: Scenario, base: Base, builders: Sequence[Builder]) -> Result:
        """All builders on one scenario."""
        work = scenario.work
        if callable(work):
            (self.scratch / "work").mkdir()
            work = work(self.scratch / "work")
            shutil.rmtree(self.scratch / "work")
        with fresh_disk(self.scratch) as disk:
            secrets = scenario.secrets(self.scratch) if scenario.secrets else {}
            turns = Turns(scenario=scenario, base=base, disk=disk, secrets=secrets)
            try:
                tree, costs, missing = turns.take(builders, min(self.asked.rounds, scenario.rounds))
            finally:
                for builder in builders:
                    builder.close()
        return Result(
            name=scenario.name,
            target=scenario.target,
            memory_target=scenario.memory,
            work=work,
            tree=tree,
            costs=costs,
            missing=missing,
        )


if __name__ == "__main__":
    sys.exit(main())
