"""How long `lamina forecast` takes over a long history of a large repository.

    python -m bench.history [--commits N] [--files N]

Makes the repository with `git fast-import`, and replays it with two Dockerfiles.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.lamina import COMMAND

TARGET = 10.0  # seconds, 200 commits of 5,000 files on two cores
DOCKERFILE = b"""FROM base
WORKDIR /app
COPY . .
RUN pip install -r requirements.txt
RUN python -m compileall src
FROM base
COPY --from=0 /app/src /app/src
"""
OTHER = b"""FROM base
WORKDIR /app
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY . .
RUN python -m compileall src
FROM base
COPY --from=0 /app/src /app/src
"""


def history(commits: int, files: int) -> Iterator[bytes]:
    """A stream for git fast-import: a few files change in every commit."""
    chance = random.Random(1)
    names = [b"src/p%02d/q%d/f%d.py" % (n % 40, n % 7, n) for n in range(files)]
    content = {name: name * chance.randint(10, 300) for name in names}
    first = {b"Dockerfile": DOCKERFILE, b".dockerignore": b".git\n**/*.pyc\n", **content}
    yield from _commit(0, {**first, b"requirements.txt": b"0"})
    for number in range(1, commits):
        changed = dict.fromkeys(chance.sample(names, chance.randint(1, 8)), b"%d" % number)
        if number % 15 == 0:
            changed[b"requirements.txt"] = b"%d" % number
        yield from _commit(number, changed)


def _commit(number: int, files: dict[bytes, bytes]) -> Iterator[bytes]:
    yield b"commit refs/heads/main\ncommitter dev <dev@example.org> %d +0000\n" % (number + 10**9)
    yield b"data 0\n"
    for name, content in files.items():
        yield b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(content), content)


def forecast_seconds(folder: Path, *, commits: int, files: int) -> float:
    """Seconds of one forecast with two Dockerfiles, the repository's files read a moment ago."""
    repository, other = folder / "repository", folder / "Other"
    subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True)
    stream = b"".join(history(commits, files))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repository, input=stream, check=True)
    subprocess.run(["git", "-C", repository, "checkout", "-q", "-f", "main"], check=True)
    other.write_bytes(OTHER)
    started = time.perf_counter()
    subprocess.run(
        [COMMAND, "--root", folder / "store", "forecast", "-C", repository, "--dockerfile", other],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--files", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = forecast_seconds(Path(folder), commits=options.commits, files=options.files)
    print(f"{options.commits} commits of {options.files} files: {taken:.1f} s")
    return 0 if taken < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
