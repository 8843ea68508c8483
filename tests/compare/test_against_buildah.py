"""Every Dockerfile in `cases` gives the same tree and configuration as with buildah.

A case is a folder with a Dockerfile and its context. `prepare.sh` makes what does not live well in
a repository (archives, modes, empty folders); `expect.toml` holds options of the build and what is
known to differ, with the reason and with what Lamina makes instead:

    options = ["--build-arg=A=b"]                    # {context} stands for the context's folder
    [differs.tree."some/path"]                       # or [differs.config.Env]
    why = "buildah leaves the mount point behind"
    ours = "absent"
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.buildah import Buildah
from tests.support.images import Image, Node, read_image
from tests.support.lamina import Lamina

CASES = sorted(path.name for path in (Path(__file__).parent / "cases").iterdir())
NOT_CONTEXT = ("prepare.sh", "expect.toml")

CONFIG = (
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "Shell",
    "OnBuild",
)
# a step's container needs these, and buildah keeps them in the layer
LEFT_BY_BUILDAH = ("etc/hosts", "etc/hostname", "etc/resolv.conf", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A known difference: why it is right that there is one, and what Lamina makes."""

    why: str
    ours: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One Dockerfile with its context, ready to be built."""

    context: Path
    options: tuple[str, ...]
    tree: Mapping[str, Difference]
    config: Mapping[str, Difference]


def load(name: str, scratch: Path) -> Case:
    """Copy a case into a scratch folder and prepare its context there."""
    source = Path(__file__).parent / "cases" / name
    context = scratch
    shutil.copytree(source, context, symlinks=True, ignore=shutil.ignore_patterns(*NOT_CONTEXT))
    if (source / "prepare.sh").exists():
        subprocess.run(["sh", "-eu", source / "prepare.sh"], cwd=context, check=True)
    expected = source / "expect.toml"
    found = tomllib.loads(expected.read_text()) if expected.exists() else {}
    differs = found.get("differs", {})
    return Case(
        context=context,
        options=tuple(o.replace("{context}", str(context)) for o in found.get("options", ())),
        tree={path: Difference(**known) for path, known in differs.get("tree", {}).items()},
        config={key: Difference(**known) for key, known in differs.get("config", {}).items()},
    )


@pytest.mark.root
@pytest.mark.parametrize("name", CASES)
def test_same_image(name: str, lamina: Lamina, buildah: Buildah, tmp_path: Path) -> None:
    """Trees and configurations are equal but for the known differences, which are real ones."""
    case = load(name, tmp_path / "ours")
    archive = tmp_path / "ours.tar"
    lamina.build(case.context, *case.options, f"--output=type=oci,dest={archive}").must_succeed()
    theirs = built_by_buildah(buildah, load(name, tmp_path / "theirs"), tmp_path / "theirs.tar")
    ours = read_image(archive)
    assert compare_trees(ours, theirs, case.tree) == []
    assert compare_configs(ours, theirs, case.config) == []


def built_by_buildah(buildah: Buildah, case: Case, archive: Path) -> Image:
    """Buildah's image, in Docker's format: in the OCI's, it leaves out half of the fields."""
    options = [*case.options, "--format=docker", "-t", f"docker-archive:{archive}"]
    buildah.build(case.context, *options).must_succeed()
    return read_image(archive)


def compare_trees(ours: Image, theirs: Image, known: Mapping[str, Difference]) -> list[str]:
    """One sentence for every path that differs unexpectedly."""
    mine = {path: describe(node) for path, node in ours.tree().items()}
    other = {path: describe(node) for path, node in theirs.tree().items()}
    for path in LEFT_BY_BUILDAH:
        if path not in mine:
            other.pop(path, None)
    return disagreements(mine, other, known, absent="absent")


def compare_configs(ours: Image, theirs: Image, known: Mapping[str, Difference]) -> list[str]:
    """One sentence for every field of the configuration that differs unexpectedly."""
    return disagreements(settings(ours), settings(theirs), known, absent=None)


def disagreements(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    known: Mapping[str, Difference],
    *,
    absent: Any,  # noqa: ANN401 - a field of a configuration may be anything
) -> list[str]:
    said = []
    for key in sorted(ours.keys() | theirs.keys() | known.keys()):
        mine, other = ours.get(key, absent), theirs.get(key, absent)
        if key not in known:
            if mine != other:
                said.append(f"{key}: {mine}, but buildah made: {other}")
        elif mine != known[key].ours:
            said.append(f"{key}: {mine} instead of {known[key].ours} ({known[key].why})")
        elif mine == other:
            said.append(f"{key}: buildah does not differ any more ({known[key].why})")
    return said


def describe(node: Node) -> str:
    """A node in one line: kind, mode, owner, then where it leads or what is in it."""
    user, group = node.owner
    rest = f" -> {node.link}" if node.link else f" {node.content[:12]}" if node.content else ""
    device = f" {node.device[0]}:{node.device[1]}" if "device" in node.kind else ""
    return f"{node.kind} {node.mode:04o} {user}:{group}{rest}{device}"


def settings(image: Image) -> dict[str, Any]:
    """The configuration's fields that both builders write, empty ones left out."""
    found = {key: image.config.get(key) for key in CONFIG}
    found["Labels"] = {
        key: value
        for key, value in (found["Labels"] or {}).items()
        if not key.startswith("io.buildah.")
    }
    found["Env"] = image.env
    return {key: value for key, value in found.items() if value not in (None, "", [], {})}
