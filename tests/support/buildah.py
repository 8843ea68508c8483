"""Buildah as a judge: finds the invocation that works on this machine, once a session.

Different machines refuse different things: crun wants pure cgroups v2, a root without
CAP_SYS_RESOURCE cannot raise limits, a private network wants a network plug-in, overlay may be
refused on the file system. None of these matters for what an image contains.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import PATH, Outcome, program, run

ISOLATIONS = (
    ("--isolation=oci", "--runtime=crun"),
    ("--isolation=oci", "--runtime=runc"),
    ("--isolation=chroot",),
)
STORAGE_DRIVERS = ("overlay", "vfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildah:
    """Runs `buildah build` with state in a folder of its own."""

    state: Path
    driver: str
    isolation: tuple[str, ...]

    def build_command(self, context: str | Path, *options: str | Path) -> list[str]:
        words = [str(option) for option in options]
        return [*self.prefix("build"), *self.isolation, *surroundings(), *words, str(context)]

    def build(self, context: str | Path, *options: str | Path, timeout: float = 300) -> Outcome:
        """Build without the layer cache, which an independent judge does not need."""
        command = self.build_command(context, "--layers=false", *options)
        return run(command, env=self.env(), timeout=timeout)

    def prefix(self, verb: str) -> list[str]:
        """`buildah VERB` with its state, and no signature checked."""
        folders = ["--root", str(self.state / "root"), "--runroot", str(self.state / "run")]
        policy = f"--signature-policy={self.state / 'policy.json'}"
        return [program("buildah"), *folders, "--storage-driver", self.driver, verb, policy]

    def take(self, name: str, layout: Path) -> None:
        """Put the image tagged `latest` in an OCI layout into the store, under a short name."""
        link = self.state / "tmp" / name  # buildah makes an image name of the path it is given
        link.symlink_to(layout)
        pull = [*self.prefix("pull"), f"oci:{name}:latest"]
        pulled = run(pull, cwd=link.parent, env=self.env()).must_succeed()
        [*_, image] = pulled.stdout.split()
        run([*self.prefix("tag")[:-1], image, f"localhost/{name}"], env=self.env()).must_succeed()
        link.unlink()

    def env(self) -> dict[str, str]:
        """Buildah's own settings and the builder's environment do not leak in."""
        return {
            "PATH": os.environ.get("PATH", PATH) + ":" + PATH,
            "HOME": str(self.state),
            "TMPDIR": str(self.state / "tmp"),
            "CONTAINERS_REGISTRIES_CONF": str(self.state / "registries.conf"),
        }


def surroundings() -> list[str]:
    """Limits stay as they are (not every root can raise them), and so does the network."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [f"--ulimit=nofile={soft}:{hard}", "--network=host"]


def release(state: Path) -> None:
    """Take down what buildah leaves mounted, so that the folder can be removed."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([mount for mount in mounts if mount.startswith(f"{state}/")]):
        run([program("umount", package="mount"), place])


def working_buildah(state: Path, bases: Mapping[str, Path]) -> Buildah:
    """The first combination of storage and isolation that can run a step on this machine."""
    (state / "tmp").mkdir(parents=True)
    (state / "policy.json").write_text(
        json.dumps({"default": [{"type": "insecureAcceptAnything"}]})
    )
    (state / "registries.conf").write_text("unqualified-search-registries = []\n")
    context = state / "probe"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN true\n")
    said = []
    for driver in STORAGE_DRIVERS:
        for isolation in ISOLATIONS:
            place = state / driver
            place.mkdir(exist_ok=True)
            for name in ("tmp", "policy.json", "registries.conf"):
                if not (place / name).exists():
                    (place / name).symlink_to(state / name)
            found = Buildah(state=place, driver=driver, isolation=isolation)
            for name, layout in bases.items():
                found.take(name, layout)
            outcome = found.build(context)
            if outcome.code == 0:
                return found
            said.append(f"{driver} {' '.join(isolation)}: {outcome.stderr.strip()[-200:]}")
    raise AssertionError("buildah runs in no way on this machine:\n" + "\n".join(said))
