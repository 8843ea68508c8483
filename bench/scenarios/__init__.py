"""What is measured: one file a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`cold`: every round starts with nothing but the base image, else with a finished build.

    `target` is the ratio to buildah's time that is promised.
    """

    name: str
    prepare: Prepare
    cold: bool
    export: bool = False
    target: float = 0.5


class Prepare(Protocol):
    """Writes the Dockerfile and the files of a context into an empty folder."""

    def __call__(self, context: Path, /) -> None: ...
