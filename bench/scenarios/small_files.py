"""Ten thousand small files are copied into an image for the first time."""

from __future__ import annotations

from pathlib import Path

from bench.scenarios import Scenario


def prepare(context: Path, /) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nCOPY files /files\n")
    for number in range(10_000):
        folder = context / "files" / f"{number // 100:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}").write_text(f"{number}\n" * (number % 400))


SCENARIOS = [Scenario(name="COPY of 10,000 small files", prepare=prepare, cold=True)]
