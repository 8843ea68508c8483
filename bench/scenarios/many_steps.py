"""A Dockerfile of thirty stages and three hundred steps; and ten builds at once in one store."""

from __future__ import annotations

from pathlib import Path

from bench.scenarios import ONE_OF_THEM, Scenario

STAGES = 30
STEPS = 10  # in each stage: nine that set something, one that copies


def prepare_stages(context: Path, /) -> None:
    (context / "file").write_text("a file\n")
    lines = []
    for stage in range(STAGES):
        lines.append(f"FROM {'busybox' if stage == 0 else f'stage{stage - 1}'} AS stage{stage}")
        lines.append(f"COPY file /files/{stage}")
        lines.append(f"RUN echo {stage} >/made{stage}")
        lines += [f"ENV VARIABLE_{stage}_{step}={step}" for step in range(STEPS - 2)]
    (context / "Dockerfile").write_text("\n".join([*lines, ""]))


def prepare_at_once(context: Path, /) -> None:
    """Every build has a number of its own; their first two steps are the same."""
    lines = ["FROM busybox", "COPY file /file", "RUN echo shared >/shared"]
    lines += ["ARG NUMBER=0", "RUN echo $NUMBER >/number", "RUN sha256sum /file /number >/sums"]
    (context / "file").write_text("a file\n")
    (context / "Dockerfile").write_text("\n".join([*lines, ""]))


SCENARIOS = [
    Scenario(
        name="30 stages, 300 steps, everything cached",
        prepare=prepare_stages,
        target=0.5,
        rounds=1,
        without=ONE_OF_THEM,
    ),
    Scenario(
        name="10 builds at once in one store",
        prepare=prepare_at_once,
        cold=True,
        at_once=10,
        rounds=3,
    ),
]
