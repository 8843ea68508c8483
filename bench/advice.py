"""How long the advisor takes: many Dockerfiles checked at once, a long history replayed.

There is nothing to compare it with: the targets are seconds, on two cores.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import history
from lamina.advisor.ruleset import all_rules
from tests.support.lamina import COMMAND

NAME = "advisor"
_ROOT = Path(__file__).parents[1]
_DOCKERFILES = 1500
_CHECK_TARGET = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One measurement: `seconds` of the whole command, once, and how many are allowed."""

    name: str
    seconds: float
    target: float


def measure(disk: Path) -> list[Advice]:
    """Both measurements, on the file system `disk`."""
    (disk / "forecast").mkdir()
    return [
        check(disk / "check"),
        Advice(
            name="forecast over 200 commits of 5,000 files, two Dockerfiles",
            seconds=history.forecast_seconds(disk / "forecast", commits=200, files=5000),
            target=history.TARGET,
        ),
    ]


def check(folder: Path) -> Advice:
    """The project's own Dockerfiles and the examples of its rules, over and over, each a little
    different.
    """
    known = list(dict.fromkeys(texts()))
    for number in range(_DOCKERFILES):
        place = folder / f"{number:04}"
        place.mkdir(parents=True)
        (place / "Dockerfile").write_text(f"{known[number % len(known)]}\n# {number}\n")
    started = time.perf_counter()
    subprocess.run([COMMAND, "check", "--exit-zero", folder], check=True, stdout=subprocess.DEVNULL)
    return Advice(
        name=f"check of {_DOCKERFILES:,} Dockerfiles ({len(known)} different ones)",
        seconds=time.perf_counter() - started,
        target=_CHECK_TARGET,
    )


def texts() -> Iterator[str]:
    """Dockerfiles of the tests, and of the documentation of the rules."""
    for path in sorted(_ROOT.glob("tests/**/*ockerfile*")):
        if path.is_file():
            yield path.read_text(errors="surrogateescape")
    for rule in all_rules():
        for example in (*rule.incorrect, *rule.correct):
            yield from (text for name, text in example.files if name == "dockerfile")
