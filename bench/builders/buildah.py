"""Buildah in the way that works on this machine, with its layer cache switched on."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.builders import Base, Builder, CannotRun, Job, Output
from tests.support.bases import write_layout
from tests.support.buildah import Buildah, release, working_buildah
from tests.support.commands import run
from tools.bases import busybox_rootfs

COMPRESSION = {Output.GZIP: "gzip", Output.ZSTD: "zstd"}


class BuildahBuilder(Builder):
    """`buildah build --layers`. Only its `push` knows zstd, so that output takes two commands."""

    name = "buildah"

    def __init__(self, tool: Buildah) -> None:
        self.tool = tool
        self.version = run([self.name, "--version"], env=tool.env()).stdout.split()[2]
        ways = (f"--storage-driver={tool.driver}", *tool.isolation, "--network=host")
        self.flags = f"build --layers {' '.join(ways)}"

    def fresh(self, bases: Sequence[Base]) -> None:
        self.close()
        furnish(self.tool.state)
        for base in bases:
            self.tool.take(base.name, base.layout)

    def command(self, job: Job) -> list[str]:
        given = ["--layers", *job.options()]
        match job.output:
            case Output.STORE:
                return self.tool.build_command(job.context, *given, f"--tag=localhost/{job.tag}")
            case Output.FOLDER:
                to = f"--output=type=local,dest={job.dest}"
                return self.tool.build_command(job.context, *given, to)
            case _:
                return self.archive(job, given)

    def archive(self, job: Job, given: Sequence[str]) -> list[str]:
        if job.output is Output.ZSTD:
            return self.build_and_push(job, given)
        plain = str(job.output is Output.PLAIN).lower()
        to = (f"--disable-compression={plain}", f"--tag=oci-archive:{job.dest}")
        return self.tool.build_command(job.context, *given, *to)

    def build_and_push(self, job: Job, given: Sequence[str]) -> list[str]:
        name = f"localhost/{job.tag}"
        build = self.tool.build_command(job.context, *given, f"--tag={name}")
        form = f"--compression-format={COMPRESSION[job.output]}"
        push = [*self.tool.prefix("push"), form, name, f"oci-archive:{job.dest}"]
        return ["sh", "-c", f"{shlex.join(build)} && exec {shlex.join(push)}"]

    def env(self) -> Mapping[str, str]:
        return self.tool.env()

    def close(self) -> None:
        state = self.tool.state
        if state.exists():
            release(state)
            shutil.rmtree(state)


def furnish(state: Path) -> None:
    """The files that the tools of this family want beside their storage."""
    (state / "tmp").mkdir(parents=True)
    anything = {"default": [{"type": "insecureAcceptAnything"}]}
    (state / "policy.json").write_text(json.dumps(anything))
    (state / "registries.conf").write_text("unqualified-search-registries = []\n")


def working_tool(state: Path) -> Buildah:
    """How buildah runs a step here. Raises CannotRun with what it said."""
    if shutil.which("buildah") is None:
        raise CannotRun("buildah is not installed")
    write_layout(state / "probe-base", busybox_rootfs())
    try:
        return working_buildah(state / "buildah", {"busybox": state / "probe-base"})
    except AssertionError as error:
        raise CannotRun(str(error)) from error


def find(state: Path) -> BuildahBuilder:
    return BuildahBuilder(working_tool(state))
