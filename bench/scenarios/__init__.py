"""What is measured: one file a scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.builders import Output

MIB = 1 << 20
# `podman build` is buildah's code: where a round takes minutes, one of the two tells enough
ONE_OF_THEM = {"podman": "slow, and the same code as buildah"}


class Prepare(Protocol):
    """Writes the Dockerfile and the files of a context into an empty folder."""

    def __call__(self, context: Path, /) -> None: ...


class Change(Protocol):
    """Changes the context before a counted round; `number` is another one every time."""

    def __call__(self, context: Path, number: int, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One line of the table.

    `cold`: every round starts with nothing but the base image, else with a finished build.
    `rounds` is the most that are counted: slow ones get by with fewer.
    `work` are the seconds that the work itself takes, or a function that measures them in a scratch
    folder; they are taken off before builders are compared.
    `target` is the ratio to the reference that is promised, `memory` the same for memory.
    `differs` are paths whose content differs from build to build (logs, caches with times in them).
    `secrets` are options of every build, by the id of the secret.
    `without` says of builders why they are not asked.
    """

    name: str
    prepare: Prepare
    cold: bool = False
    output: Output = Output.STORE
    change: Change | None = None
    base: str = "busybox"
    at_once: int = 1
    rounds: int = 5
    work: float | Callable[[Path], float] = 0.0
    target: float | None = None
    memory: float | None = None
    differs: tuple[str, ...] = ()
    secrets: Callable[[Path], dict[str, Path]] | None = None
    network: bool = False
    without: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    """A scenario that cannot be measured, and why: it is listed, not left out."""

    name: str
    reason: str


def write_files(folder: Path, files: int, *, content: Callable[[int], str]) -> None:
    """Files in folders of a hundred."""
    for number in range(files):
        inside = folder / f"{number // 100:04}"
        if number % 100 == 0:
            inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{number:06}").write_text(content(number))
