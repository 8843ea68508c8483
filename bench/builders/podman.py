"""`podman build`: buildah's code with podman's command line."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.builders import CannotRun, Job, Output
from bench.builders.buildah import BuildahBuilder, furnish, working_tool
from tests.support.bases import write_layout
from tests.support.buildah import Buildah
from tests.support.commands import program, run
from tools.bases import busybox_rootfs


class Podman(Buildah):
    """Podman names its runtime before the verb, and wants to be kept off systemd."""

    def prefix(self, verb: str) -> list[str]:
        folders = ["--root", str(self.state / "root"), "--runroot", str(self.state / "run")]
        runtime = [way for way in self.isolation if way.startswith("--runtime")]
        apart = ["--cgroup-manager=cgroupfs", "--events-backend=none"]
        policy = f"--signature-policy={self.state / 'policy.json'}"
        driver = f"--storage-driver={self.driver}"
        return [program("podman"), *folders, driver, *runtime, *apart, verb, policy]

    def build_command(self, context: str | Path, *options: str | Path) -> list[str]:
        words = super().build_command(context, *options)
        build = words.index("build")
        after = [word for word in words[build:] if not word.startswith("--runtime")]
        return [*words[:build], *after]


class PodmanBuilder(BuildahBuilder):
    """`podman build --layers`; every archive takes a build and a push."""

    name = "podman"

    def archive(self, job: Job, given: Sequence[str]) -> list[str]:
        if job.output is Output.PLAIN:
            raise CannotRun("podman push has no option for uncompressed layers")
        return self.build_and_push(job, given)


def find(state: Path) -> PodmanBuilder:
    if shutil.which("podman") is None:
        raise CannotRun("podman is not installed")
    way = working_tool(state)
    tool = Podman(state=state / "podman", driver=way.driver, isolation=way.isolation)
    furnish(tool.state)
    write_layout(state / "busybox", busybox_rootfs())
    tool.take("busybox", state / "busybox")
    (state / "Dockerfile").write_text("FROM busybox\nRUN true\n")
    tried = run(tool.build_command(state), env=tool.env())
    if tried.code != 0:
        raise CannotRun(f"podman build failed: {tried.stderr.strip()[-200:]}")
    return PodmanBuilder(tool)
