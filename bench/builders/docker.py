"""Docker with BuildKit: `docker buildx build`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.builders import BUILDKIT_OUTPUTS, Base, Builder, CannotRun, Job, Output, ask, processes


class Buildx(Builder):
    """`docker buildx build`, with whatever builder is chosen on this machine."""

    name = "docker"
    flags = "buildx build, warm daemon"

    def __init__(self, version: str) -> None:
        self.version = version
        self.cold = False

    def fresh(self, bases: Sequence[Base]) -> None:
        self.cold = True  # the daemon is somebody's own: its cache is left alone

    def command(self, job: Job) -> list[str]:
        named = [f"--build-context={b.name}=oci-layout://{b.layout}:latest" for b in job.bases]
        to = f"--tag={job.tag}"
        if job.output is not Output.STORE:
            to = f"--output={BUILDKIT_OUTPUTS[job.output].format(job.dest)}"
        anew = ["--no-cache"] if self.cold else []
        self.cold = False
        return ["docker", "buildx", "build", *named, *anew, *job.options(), to, str(job.context)]

    def env(self) -> Mapping[str, str]:
        return dict(os.environ)

    def servers(self) -> list[int]:
        return processes("dockerd", "containerd", "buildkitd")

    def close(self) -> None:
        """Nothing: the cache belongs to whoever runs the daemon."""


def find(state: Path) -> Buildx:
    if shutil.which("docker") is None:
        raise CannotRun("docker is not installed")
    version = ask("docker", "buildx", "version")
    if version.code != 0:
        raise CannotRun(f"docker has no buildx: {version.stderr.strip().splitlines()[0]}")
    answer = ask("docker", "info")
    if answer.code != 0:
        raise CannotRun(f"no Docker daemon answers: {answer.stderr.strip()}")
    return Buildx(version.stdout.split()[1])
