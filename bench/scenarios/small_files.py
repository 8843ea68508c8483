"""Ten thousand small files are copied into an image for the first time, and exported."""

from __future__ import annotations

from pathlib import Path

from bench.builders import Output
from bench.scenarios import ONE_OF_THEM, Scenario, write_files

TARGETS = {
    Output.STORE: 0.35,
    Output.GZIP: 0.25,
    Output.ZSTD: 0.5,
    Output.PLAIN: None,
    Output.FOLDER: None,
}


def prepare(context: Path, /) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nCOPY files /files\n")
    write_files(context / "files", 10_000, content=lambda number: f"{number}\n" * (number % 400))


SCENARIOS = [
    Scenario(
        name=f"10,000 small files, cold, to {output.value}",
        prepare=prepare,
        cold=True,
        output=output,
        target=target,
        rounds=3 if output is Output.STORE else 2,
        without={} if output is Output.STORE else ONE_OF_THEM,
    )
    for output, target in TARGETS.items()
]
