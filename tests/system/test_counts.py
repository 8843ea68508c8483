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
from tests.support.registry import Registry

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
CALL = re.compile(r"[0-9]+ +([a-z0-9_]+)\(")
WRITING = "write,pwrite64,fchmod,fchmodat,fchown,fchownat,fsetxattr,utimensat,ftruncate"
OPENED = re.compile(
    r'open(?:at2?)?\(.*?"(?:[^"]*/)?(f[0-9]+\.txt)".*(?:= [0-9]+|<unfinished ...>)$'
)


class Counts:
    """What one build did: the context's files that it opened, by name, how often it called the
    kernel to write files, and its SQL statements.
    """

    def __init__(self, calls: str, statements: list[str]) -> None:
        lines = calls.splitlines()
        self.opened = [found[1] for line in lines if (found := OPENED.search(line))]
        self.calls = collections.Counter(found[1] for line in lines if (found := CALL.match(line)))
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
        tracer = (
            program("strace"),
            "-f",
            "-qq",
            "-e",
            f"trace=open,openat,openat2,{WRITING}",
            "-o",
            calls,
        )
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
    build()
    build()
    changed = context / "src" / "d7" / "f7.txt"
    changed.write_text("changed\n")
    opened = collections.Counter(build().opened)
    # A layer takes two: the source, and the file that is made of it. The changed one was read to
    # be hashed, and is not read again.
    assert set(opened.values()) == {2}
    assert len(opened) == FILES


def test_a_new_file_is_read_once_and_written_with_few_calls(build: Callable[[], Counts]) -> None:
    """For the key, the layer and the diff ID it is opened once, and once more to be made.

    It is written by one call and its time is set by another; its mode it is born with.
    """
    counts = build()
    opened = collections.Counter(counts.opened)
    assert set(opened.values()) == {2}
    assert len(opened) == FILES
    spare = FILES // 5  # directories, the store, the steps
    assert counts.calls["write"] + counts.calls["pwrite64"] <= FILES + spare
    assert counts.calls["utimensat"] <= FILES + spare
    for call in ("fchmod", "fchmodat", "fchown", "fchownat", "fsetxattr", "ftruncate"):
        assert counts.calls[call] <= 2 * spare, call


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


class Remote:
    """A cache of some steps in a registry, machines that use it, and the requests of each build."""

    def __init__(self, registry: Registry, folder: Path, base: Path, *, layers: int) -> None:
        self.registry = registry
        self.ref = registry.repository(f"counts-{layers}-{folder.name.lower()}")
        self.layers = layers
        self._folder = folder
        self._base = base
        self._machines = 0
        self._context = folder / "steps"
        self._context.mkdir()
        steps = "".join(f"RUN echo {number} > /file{number}\n" for number in range(layers))
        (self._context / "Dockerfile").write_text(f"FROM busybox\n{steps}")

    def machine(self) -> Lamina:
        self._machines += 1
        return Lamina(
            store=self._folder / f"machine-{self._machines}", bases={"busybox": self._base}
        )

    def build(self, machine: Lamina, *options: str) -> collections.Counter[str]:
        """The requests, as `METHOD kind`."""
        before = len(self.registry.requests())
        machine.build(self._context, *options).must_succeed()
        return collections.Counter(
            f"{request.split()[0]} {kind}"
            for request in self.registry.requests()[before:]
            for kind in ("uploads", "blobs", "manifests", "tags")
            if f"/{kind}/" in request and not (kind == "blobs" and "/uploads/" in request)
        )


@pytest.fixture(params=[2, 12])
def remote(
    request: pytest.FixtureRequest, registry: Registry, tmp_path: Path, busybox_image: Path
) -> Remote:
    return Remote(registry, tmp_path, busybox_image, layers=request.param)


def test_an_empty_machine_asks_for_a_manifest_and_a_blob(remote: Remote) -> None:
    """However many steps the cache knows: two requests tell that all of them are cached."""
    target = f"--cache-to=type=registry,ref={remote.ref}:cache,mode=max"
    remote.build(remote.machine(), target)
    asked = remote.build(remote.machine(), f"--cache-from={remote.ref}:cache")
    assert asked == {"GET manifests": 1, "GET blobs": 1}


def test_a_new_cache_asks_three_times_a_blob(remote: Remote) -> None:
    """Is it there, where should it go, here it is; and one document with its manifest."""
    target = f"--cache-to=type=registry,ref={remote.ref}:cache,mode=max"
    asked = remote.build(remote.machine(), target)
    blobs = remote.layers + 1
    assert asked == {
        "GET manifests": 1,
        "HEAD blobs": blobs,
        "POST uploads": blobs,
        "PUT uploads": blobs,
        "PUT manifests": 1,
    }


@pytest.mark.parametrize("layout", ["single", "records"])
def test_an_unchanged_cache_costs_three_requests(remote: Remote, layout: str) -> None:
    """At most, for what is read and for what is written; no blob is asked for by its name."""
    flag = f"type=registry,ref={remote.ref}:cache,layout={layout}"
    machine = remote.machine()
    remote.build(machine, f"--cache-to={flag},mode=max")
    asked = remote.build(machine, f"--cache-to={flag},mode=max")
    assert asked.total() <= 3
    assert not [each for each in asked if not each.startswith("GET ")]


def test_an_unchanged_image_costs_a_question_a_blob(remote: Remote) -> None:
    """A second push sends nothing but the manifest."""
    push = ("--push", f"--tag={remote.ref}:1")
    machine = remote.machine()
    remote.build(machine, *push)
    asked = remote.build(machine, *push)
    others = 2  # busybox, the configuration
    assert asked == {"HEAD blobs": remote.layers + others, "PUT manifests": 1}
