"""What a build asks of the machine, counted: a slower design shows before a slower clock."""

from __future__ import annotations

import collections
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import program, run
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

FILES = 2000
FOLDERS = 20

# The command under test, with every SQL statement it runs written down.
TRACED = """
import json, sqlite3, sys

statements, connect = [], sqlite3.connect
def traced(*arguments, **options):
    database = connect(*arguments, **options)
    database.set_trace_callback(statements.append)
    return database
sqlite3.connect = traced
from lamina.cli.main import main
sys.argv = ["lamina", *sys.argv[2:]]
try:
    code = main()
finally:
    with open({out!r}, "w") as file:
        json.dump(statements, file)
sys.exit(code)
"""
OPENED = re.compile(r'open(?:at2?)?\(.*?"(?:[^"]*/)?(f[0-9]+\.txt)".*= [0-9]+')


class Counts:
    """What one build did: the context's files that it opened, by name, and its SQL statements."""

    def __init__(self, calls: str, statements: list[str]) -> None:
        self.opened = [found[1] for line in calls.splitlines() if (found := OPENED.search(line))]
        words = [statement.split(maxsplit=1)[0].upper() for statement in statements]
        self.selects = words.count("SELECT")
        self.writes = sum(words.count(word) for word in ("INSERT", "UPDATE", "DELETE"))


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

    def counted() -> Counts:
        calls, statements = tmp_path / "calls", tmp_path / "statements.json"
        command = [str(part) for part in lamina.build_command(context, "--tag=counted")]
        code = TRACED.format(out=str(statements))
        tracer = (program("strace"), "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", calls)
        run((*tracer, sys.executable, "-c", code, *command), env=lamina.env()).must_succeed()
        return Counts(calls.read_text(), json.loads(statements.read_text()))

    return counted


def test_a_cached_build_reads_no_file_of_the_context(build: Callable[[], Counts]) -> None:
    """It looks at every file's status, asks the index a few questions, and writes nothing."""
    build()
    counts = build()
    assert counts.opened == []
    assert counts.writes == 0
    assert counts.selects <= 12


def test_one_changed_file_is_the_only_one_hashed_for_the_key(
    build: Callable[[], Counts], context: Path
) -> None:
    """The others are known by their stat, and opened only to make the new layer."""
    first = build()
    assert len(first.opened) >= FILES
    build()
    changed = context / "src" / "d7" / "f7.txt"
    changed.write_text("changed\n")
    opened = collections.Counter(build().opened)
    # A layer takes three: the source, the file that is made of it, and that one for the diff ID.
    assert {name for name, times in opened.items() if times > 3} == {"f7.txt"}
    assert opened["f7.txt"] == 4


def test_the_index_is_asked_as_often_however_many_files_there_are(
    build: Callable[[], Counts], context: Path
) -> None:
    """Statements count steps, not files."""
    build()
    many = build().selects
    for path in (context / "src").rglob("*.txt"):
        if path.name != "f0.txt":
            path.unlink()
    build()
    assert build().selects == many
