"""One file of ten thousand has changed; a COPY and a RUN have to be done again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.scenarios import Scenario, cached


def change(context: Path, number: int, /) -> None:
    (context / "files" / "0042" / "004242").write_text(f"round {number}\n")


SCENARIOS = [
    Scenario(
        name="one file of 10,000 changed",
        prepare=partial(cached.prepare, files=10_000),
        change=change,
        target=0.3,
        rounds=3,
    )
]
