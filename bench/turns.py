"""One scenario: the builders in turns, after a warm-up whose outputs are checked to be the same."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.builders import Base, Builder, CannotRun, Job, Output
from bench.measure import Cost, measure
from bench.outputs import check_equal, read_folder, read_tree
from bench.scenarios import Scenario
from tests.support.images import Tree

Costs = dict[str, list[Cost]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """`disk` is an empty file system; `secrets` belong to every build."""

    scenario: Scenario
    base: Base
    disk: Path
    secrets: Mapping[str, Path]

    def take(self, builders: Sequence[Builder], rounds: int) -> tuple[str, Costs, dict[str, str]]:
        """The digest of the tree that all made, what they cost, and why some have no costs.

        Raises OutputsDiffer, and CommandFailed when a build fails.
        """
        self.context.mkdir()
        self.scenario.prepare(self.context)
        able, trees, missing = self.warm_up(builders)
        tree = check_equal(trees, differs=self.scenario.differs)
        costs: Costs = {builder.name: [] for builder in able}
        for number in range(1, rounds + 1):
            if self.scenario.change:
                self.scenario.change(self.context, number)
            for builder in able:
                if self.scenario.cold:
                    builder.fresh((self.base,))
                cost = self.build(builder)
                self.discard()
                costs[builder.name].append(cost)
                say(f"{self.scenario.name}: {builder.name} {cost.seconds:.2f} s")
        return tree, costs, missing

    def warm_up(
        self, builders: Sequence[Builder]
    ) -> tuple[list[Builder], dict[str, Tree], dict[str, str]]:
        """Fills the page cache and the layer cache; those who can build, their trees, and the
        reasons of the others.
        """
        able: list[Builder] = []
        trees: dict[str, Tree] = {}
        missing = dict(self.scenario.without)
        for builder in builders:
            if builder.name in missing:
                continue
            try:
                builder.fresh((self.base,))
                self.build(builder)
                trees[builder.name] = self.tree(builder)
                able.append(builder)
            except CannotRun as error:
                missing[builder.name] = str(error)
            self.discard()
        return able, trees, missing

    def tree(self, builder: Builder) -> Tree:
        """What the warm-up wrote; a build into the store is exported for that."""
        if self.scenario.output is Output.FOLDER:
            return read_folder(self.dest)
        if self.scenario.output is Output.STORE:
            job = Job(
                context=self.context,
                dest=self.dest,
                output=Output.ZSTD,
                secrets=self.secrets,
                bases=(self.base,),
            )
            measure([builder.command(job)], builder.env())
        return read_tree(self.dest)

    def build(self, builder: Builder) -> Cost:
        """One build, or as many at once as the scenario wants, each with a number of its own."""
        several = self.scenario.at_once > 1
        jobs = [
            Job(
                context=self.context,
                dest=self.dest,
                output=self.scenario.output,
                tag=f"bench{number}",
                arguments={"NUMBER": str(number)} if several else {},
                secrets=self.secrets,
                bases=(self.base,),
            )
            for number in range(self.scenario.at_once)
        ]
        commands = [builder.command(job) for job in jobs]
        return measure(commands, builder.env(), builder.servers())

    @property
    def context(self) -> Path:
        return self.disk / "context"

    @property
    def dest(self) -> Path:
        return self.disk / "out"

    def discard(self) -> None:
        if self.dest.is_dir():
            shutil.rmtree(self.dest)
        self.dest.unlink(missing_ok=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
