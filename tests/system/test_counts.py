"""What a build asks of the machine, counted: a slower design shows before a slower clock."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

FILES = 2000
FOLDERS = 20

# The command under test, with every file it opens and every SQL statement it runs written down.
COUNTED = """
import json, sqlite3, sys

opened, statements = [], []
def watch(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
    elif event == "sqlite3.connect/handle":
        arguments[0].set_trace_callback(statements.append)
sys.addaudithook(watch)
from lamina.cli.main import main
sys.argv = ["lamina", *sys.argv[2:]]
try:
    main()
finally:
    with open({out!r}, "w") as file:
        json.dump({{"opened": opened, "statements": statements}}, file)
"""


class Counts:
    """What one build did."""

    def __init__(self, told: dict[str, list[str]], context: Path) -> None:
        names = {path.name for path in context.rglob("*.txt")}
        self.files = [path for path in told["opened"] if Path(path).name in names]
        self.selects = [s for s in told["statements"] if s.lstrip().upper().startswith("SELECT")]
        self.writes = [
            s
            for s in told["statements"]
            if s.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
        ]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A folder of many small files, a COPY of them and a RUN below it."""
    folder = tmp_path / "context"
    for number in range(FOLDERS):
        (folder / "src" / f"d{number}").mkdir(parents=True)
    for number in range(FILES):
        place = folder / "src" / f"d{number % FOLDERS}" / f"f{number}.txt"
        place.write_text(f"{number}\n" * 10)
    (folder / "Dockerfile").write_text("FROM busybox\nCOPY src /src\nRUN true\n")
    return folder


@pytest.fixture
def build(lamina: Lamina, context: Path, tmp_path: Path) -> Callable[[], Counts]:
    """Builds the context, and counts."""

    def run() -> Counts:
        out = tmp_path / "counts.json"
        command = [str(part) for part in lamina.build_command(context, "--tag=counted")]
        code = COUNTED.format(out=str(out))
        subprocess.run(
            [sys.executable, "-c", code, *command],
            env=dict(lamina.env()),
            check=True,
            capture_output=True,
        )
        return Counts(json.loads(out.read_text()), context)

    return run


def test_a_cached_build_reads_no_file_of_the_context(build: Callable[[], Counts]) -> None:
    """It looks at every file's status, asks the index a few questions, and writes nothing."""
    build()
    counts = build()
    assert counts.files == []
    assert counts.writes == []
    assert len(counts.selects) <= 12


def test_one_changed_file_is_the_only_one_hashed_for_the_key(
    build: Callable[[], Counts], context: Path
) -> None:
    """The others are known by their stat; each is opened once more to be copied, and not twice."""
    build()
    build()
    changed = context / "src" / "d7" / "f7.txt"
    changed.write_text("changed\n")
    counts = build()
    assert FILES // 2 < len(counts.files) <= FILES + 1
    assert len([path for path in counts.files if Path(path).name == "f7.txt"]) <= 2


def test_the_index_is_asked_as_often_however_many_files_there_are(
    build: Callable[[], Counts], context: Path
) -> None:
    """Statements count steps, not files."""
    build()
    many = len(build().selects)
    for path in (context / "src").rglob("*.txt"):
        if path.name != "f0.txt":
            path.unlink()
    build()
    assert len(build().selects) == many
