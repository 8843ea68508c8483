"""A rebuild in which nothing has changed: what is left is the builder itself, and the context."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.scenarios import Scenario

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
    for number in range(files):
        folder = context / "files" / f"{number // 100:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}").write_text(f"{number}\n" * 100)


SCENARIOS = [
    Scenario(name=f"everything cached, {n:,} files", prepare=partial(prepare, files=n), cold=False)
    for n in (20, 10_000)
]
