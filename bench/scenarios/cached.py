"""A rebuild in which nothing has changed: what is left is the builder itself, and the context."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.scenarios import ONE_OF_THEM, Scenario, write_files

DOCKERFILE = """\
FROM busybox
WORKDIR /app
RUN echo one >/one
COPY files /app
RUN ls /app >/list
CMD ["sh"]
"""


def prepare(context: Path, /, *, files: int) -> None:
    (context / "Dockerfile").write_text(DOCKERFILE)
    write_files(context / "files", files, content=lambda number: f"{number}\n" * 100)


SCENARIOS = [
    Scenario(name="everything cached, 20 files", prepare=partial(prepare, files=20), target=1.0),
    Scenario(
        name="everything cached, 10,000 files", prepare=partial(prepare, files=10_000), target=0.35
    ),
    Scenario(
        name="everything cached, 100,000 files",
        prepare=partial(prepare, files=100_000),
        target=0.25,
        memory=0.3,
        rounds=1,
        without=ONE_OF_THEM,
    ),
]
