"""Lamina, as it comes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.builders import Base, Builder, Job, Output, ask
from tests.support.lamina import COMMAND, Lamina

OUTPUTS = {
    Output.GZIP: "type=oci,dest={}",
    Output.ZSTD: "type=oci,compression=zstd,dest={}",
    Output.PLAIN: "type=oci,compression=uncompressed,dest={}",
    Output.FOLDER: "type=local,dest={}",
}


@dataclass(slots=True, kw_only=True)
class LaminaBuilder(Builder):
    """The `lamina` command of this checkout."""

    state: Path
    version: str
    name: str = "lamina"
    flags: str = "build --progress=plain"

    def fresh(self, bases: Sequence[Base]) -> None:
        self.close()
        for base in bases:
            self._lamina.run("import", base.tar, base.name).must_succeed()

    def command(self, job: Job) -> list[str]:
        to = f"--tag={job.tag}"
        if job.output is not Output.STORE:
            to = f"--output={OUTPUTS[job.output].format(job.dest)}"
        return self._lamina.build_command(job.context, to, *job.options())

    def env(self) -> Mapping[str, str]:
        return self._lamina.env()

    def close(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def _lamina(self) -> Lamina:
        return Lamina(store=self.state)


def find(state: Path) -> LaminaBuilder:
    said = ask(str(COMMAND), "--version").must_succeed().stdout
    return LaminaBuilder(state=state / "lamina", version=said.split()[-1])
