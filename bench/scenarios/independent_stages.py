"""Four stages of two seconds each that do not need each other, joined by a fifth."""

from __future__ import annotations

from pathlib import Path

from bench.scenarios import Scenario

SECONDS = 2.0
STAGES = 4


def prepare(context: Path, /) -> None:
    stages = [
        f"FROM busybox AS stage{n}\nRUN sleep {SECONDS:g} && echo {n} >/made\n"
        for n in range(STAGES)
    ]
    joined = [f"COPY --from=stage{n} /made /made{n}\n" for n in range(STAGES)]
    (context / "Dockerfile").write_text("".join([*stages, "FROM busybox\n", *joined]))


SCENARIOS = [
    Scenario(
        name="4 independent stages of 2 s",
        prepare=prepare,
        cold=True,
        work=SECONDS,
        target=0.5,
        rounds=3,
    )
]
