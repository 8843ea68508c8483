"""BuildKit by itself: `buildctl` with a buildkitd that runs already."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.builders import BUILDKIT_OUTPUTS, Base, Builder, CannotRun, Job, Output, ask, processes


class Buildctl(Builder):
    """A daemon with state of its own, outside of the benchmark's file system."""

    name = "buildctl"
    flags = "build --frontend=dockerfile.v0, warm daemon"

    def __init__(self, version: str) -> None:
        self.version = version
        self.cold = False

    def fresh(self, bases: Sequence[Base]) -> None:
        self.cold = True  # the daemon is somebody's own: its cache is left alone

    def command(self, job: Job) -> list[str]:
        given = [f"--opt=build-arg:{name}={value}" for name, value in job.arguments.items()]
        given += [f"--secret=id={name},src={path}" for name, path in job.secrets.items()]
        for base in job.bases:
            given.append(f"--oci-layout={base.name}={base.layout}")
            there = f"oci-layout://{base.name}@{digest(base.layout)}"
            given.append(f"--opt=context:{base.name}={there}")
        if job.output is not Output.STORE:
            given.append(f"--output={BUILDKIT_OUTPUTS[job.output].format(job.dest)}")
        folders = [f"--local={name}={job.context}" for name in ("context", "dockerfile")]
        anew = ["--no-cache"] if self.cold else []
        self.cold = False
        return ["buildctl", "build", "--frontend=dockerfile.v0", *folders, *anew, *given]

    def env(self) -> Mapping[str, str]:
        return dict(os.environ)

    def servers(self) -> list[int]:
        return processes("buildkitd")

    def close(self) -> None:
        """Nothing: the cache belongs to whoever runs the daemon."""


def find(state: Path) -> Buildctl:
    if shutil.which("buildctl") is None:
        raise CannotRun("buildctl is not installed")
    workers = ask("buildctl", "debug", "workers")
    if workers.code != 0:
        raise CannotRun(f"no buildkitd answers: {workers.stderr.strip()}")
    return Buildctl(ask("buildctl", "--version").stdout.split()[2])


def digest(layout: Path) -> str:
    index = json.loads((layout / "index.json").read_text())
    return str(index["manifests"][0]["digest"])
