"""Runs `lamina` and reads from its own report (`--progress=rawjson`) what every step did."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSTRUCTION = re.compile(r"^\[[^]]*\d+/\d+\] ")  # `[stage-0 2/5] RUN …`: a step of the Dockerfile


class StoryFailed(Exception):
    """A build failed, or the cache did not do its part; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a finished build."""

    name: str
    cached: bool
    seconds: float
    output: str

    @property
    def instruction(self) -> str:
        """The step as it stands in the Dockerfile, white space squeezed."""
        return " ".join(INSTRUCTION.sub("", self.name).split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a build did, step by step, in the Dockerfile's order."""

    steps: tuple[Step, ...]
    seconds: float

    def step(self, words: str) -> Step:
        """The only step whose instruction contains these words."""
        found = [step for step in self.steps if words in step.instruction]
        if len(found) != 1:
            raise StoryFailed(f"{len(found)} steps of the build say {words!r}, not one")
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """The `lamina` command of this checkout with a store that belongs to the demo."""

    command: Sequence[str]
    store: Path

    def run(self, *arguments: str | Path, timeout: float = 1800) -> tuple[int, str]:
        """Run a command; its exit code and everything it printed."""
        words = [*self.command, "--root", str(self.store), *(str(word) for word in arguments)]
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def must(self, *arguments: str | Path) -> str:
        code, said = self.run(*arguments)
        if code != 0:
            raise StoryFailed(f"lamina {arguments[0]} failed with exit code {code}:\n{said}")
        return said

    def build(self, dockerfile: Path, context: Path, *options: str) -> Build:
        """Build, and print one line a step of the Dockerfile: its fate, its time, its name."""
        report = ["build", "--progress=rawjson", "--output=type=cacheonly", *options]
        said = self.must(*report, "-f", dockerfile, context)
        build = read_report(said.splitlines())
        for step in build.steps:
            fate = "cached" if step.cached else f"{step.seconds:5.1f}s"
            print(f"    {fate:>6}  {shortened(step.instruction)}", flush=True)
        print(f"    {build.seconds:5.1f}s  in all", flush=True)
        return build


def default_command() -> list[str]:
    """The `lamina` beside the Python that runs this."""
    return [str(Path(sys.executable).parent / "lamina")]


def shortened(text: str, width: int = 96) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def read_report(lines: Iterable[str]) -> Build:
    """The build that the event lines tell of; steps that are not the Dockerfile's are left out."""
    names: dict[int, str] = {}
    outputs: dict[int, list[bytes]] = {}
    ends: dict[int, dict[str, Any]] = {}
    seconds = 0.0
    for line in lines:
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        match event["type"]:
            case "step-started":
                names[event["step"]] = event["name"]
            case "step-output":
                outputs.setdefault(event["step"], []).append(base64.b64decode(event["data"]))
            case "step-finished":
                ends[event["step"]] = event
            case "build-finished":
                seconds = event["seconds"]
    steps = [
        Step(
            name=name,
            cached=ends[number].get("cached", False),
            seconds=ends[number]["seconds"],
            output=b"".join(outputs.get(number, ())).decode(errors="replace"),
        )
        for number, name in names.items()
        if number in ends and INSTRUCTION.match(name)
    ]
    return Build(steps=tuple(steps), seconds=seconds)
