"""Twenty steps that do nothing: what a RUN costs beside its work."""

from __future__ import annotations

from pathlib import Path

from bench.scenarios import ONE_OF_THEM, Scenario


def prepare(context: Path, /) -> None:
    steps = "".join(f"RUN true {number}\n" for number in range(20))
    (context / "Dockerfile").write_text(f"FROM busybox\n{steps}")


SCENARIOS = [
    Scenario(
        name="20 times RUN true",
        prepare=prepare,
        cold=True,
        target=0.4,
        rounds=3,
        without=ONE_OF_THEM,
    )
]
