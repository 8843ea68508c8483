"""The process: start, global flags, exit codes, errors nobody expected."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamina import __version__
from lamina.cli.command import SUMMARIES, Session, group
from lamina.cli.commands.images import as_json, as_table, short_id
from lamina.cli.failure import as_lamina_error
from lamina.cli.store_root import default_root
from lamina.control.request import ImageRow
from lamina.errors import HostError, InternalError, StepFailed, UsageError
from lamina.oci.reference import parse_reference

START = "import sys; from lamina.cli.main import main; sys.exit(main())"


def lamina(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START, *args],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LAMINA_ROOT": "/proc/nowhere", **environ},
        timeout=60,
        check=False,
    )


def session(root: Path) -> Session:
    return Session(
        environ={},
        stdin=io.BytesIO(),
        stdout=io.BytesIO(),
        stderr=io.BytesIO(),
        cwd="/",
        root=str(root),
    )


def test_the_version_needs_next_to_no_imports() -> None:
    """`lamina --version` starts as fast as the interpreter does."""
    code = "import sys; before = set(sys.modules); from lamina.cli.main import main; "
    code += "main(['--version']); print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version == f"lamina {__version__}"
    assert modules == "__future__ lamina lamina.cli lamina.cli.main"


def test_the_version_is_told_behind_other_flags() -> None:
    """No command is missed where only the version is asked for."""
    code = "from lamina.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "--root", "/nowhere", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"lamina {__version__}\n")


def test_a_command_imports_what_it_uses() -> None:
    """Neither the terminal's library nor another command's file is imported to parse a build."""
    code = "import sys; from lamina.cli.main import main; main(['build']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "lamina.cli.commands.build" in modules
    assert "lamina.cli.commands.run" not in modules
    assert not modules & {"rich", "urllib3", "ssl", "json", "sqlite3", "lamina.control.build"}


def test_help_names_every_command() -> None:
    """Without arguments too; each command has its own help."""
    for args in ((), ("--help",), ("-h",)):
        done = lamina(*args)
        assert done.returncode == 0
        assert all(f"\n  {name} " in done.stdout for name in SUMMARIES)
    assert "--build-arg" in lamina("build", "--help").stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["biuld", "."], "unknown command 'biuld'\nhint: did you mean build?"),
        (["--rot", "x", "build"], "unknown flag: --rot\nhint: did you mean --root?"),
        (["build", "--taget", "x", "."], "unknown flag: --taget\nhint: did you mean --target?"),
        (["rmi"], "the image is missing"),
        (["import", "x"], "an archive and a name are needed"),
        (["run"], "the image is missing"),
        (["images", "--format", "yaml"], "unknown format 'yaml' for --format"),
    ],
)
def test_usage_errors(args: list[str], said: str) -> None:
    """Exit code 2, the error and a hint on standard error, nothing on standard output."""
    done = lamina(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"ERROR: {said}")
    assert "Traceback" not in done.stderr


def test_the_global_flags_stand_on_both_sides() -> None:
    """`--root` and `--debug` before the command or behind it."""
    for args in (["--root", "/x", "-D", "version"], ["version", "--debug", "--root=/x"]):
        seen = session(Path("/nowhere"))
        with group().make_context("lamina", list(args), obj=seen) as context:
            context.command.invoke(context)
        assert (seen.root, seen.debug) == ("/x", True)


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    """`lamina --help | true` says nothing on standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", START, "build", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert done.stderr == b""


def test_where_the_store_is() -> None:
    """LAMINA_ROOT, else root's own place, else the user's data folder."""
    assert default_root({"LAMINA_ROOT": "/s"}, uid=0) == "/s"
    assert default_root({}, uid=0) == "/var/lib/lamina"
    assert default_root({"XDG_DATA_HOME": "/d", "HOME": "/h"}, uid=1) == "/d/lamina"
    assert default_root({"XDG_DATA_HOME": "d", "HOME": "/h"}, uid=1) == "/h/.local/share/lamina"


def test_our_errors_are_themselves(tmp_path: Path) -> None:
    """With the exit code of their class."""
    for error, code in ((UsageError("x"), 2), (StepFailed("x", exit_status=1), 3)):
        assert as_lamina_error(error, session(tmp_path)) is error
        assert error.exit_code == code


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOSPC, "No space left", "/x/y"), "no space left on device: /x/y"),
        (OSError(errno.EDQUOT, "Quota", b"/x/\xff"), "no space left on device: /x/\udcff"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "Read-only file system: /x"),
    ],
)
def test_the_machines_errors_are_told_as_such(error: Exception, said: str, tmp_path: Path) -> None:
    """A full disk is not our bug."""
    told = as_lamina_error(error, session(tmp_path))
    assert isinstance(told, HostError)
    assert told.message == said


def test_a_bug_leaves_its_traceback_in_a_file(tmp_path: Path) -> None:
    """One line for the terminal; the rest among the store's logs."""
    try:
        raise KeyError("first\nsecond")
    except KeyError as error:
        told = as_lamina_error(error, session(tmp_path))
    assert isinstance(told, InternalError)
    assert told.message == "internal error: KeyError: 'first\\nsecond'"
    (log,) = (tmp_path / "logs").iterdir()
    assert told.hint is not None
    assert str(log) in told.hint
    assert "Traceback (most recent call last)" in log.read_text()


def test_a_bug_is_told_where_the_store_cannot_be_written() -> None:
    """Then the traceback is in a temporary file."""
    told = as_lamina_error(ValueError("x"), session(Path("/proc/nowhere")))
    assert told.hint is not None
    path = told.hint.rpartition(" ")[2]
    assert "ValueError: x" in Path(path).read_text()
    os.unlink(path)


ROW = ImageRow(
    reference=parse_reference("r.io/app:dev"),
    image_id="sha256:" + "ab" * 32,
    digest="sha256:" + "cd" * 32,
    created=1000.0,
    size=1_500_000,
    platforms=("linux/amd64",),
)
NAMELESS = ImageRow(reference=None, image_id="sha256:" + "0" * 64, digest="", created=None, size=0)


def test_images_as_a_table() -> None:
    """Names and tags apart, IDs cut, ages and sizes for people."""
    assert as_table([ROW, NAMELESS], now=8200.0, length=12) == (
        "REPOSITORY   TAG      IMAGE ID       PLATFORM      CREATED       SIZE\n"
        "r.io/app     dev      abababababab   linux/amd64   2 hours ago   1.50MB\n"
        "<none>       <none>   000000000000                               0B\n"
    )


def test_images_as_json() -> None:
    """An object a line, for programs: nothing cut or rounded."""
    assert json.loads(as_json(ROW)) == {
        "repository": "r.io/app",
        "tag": "dev",
        "id": "sha256:" + "ab" * 32,
        "digest": "sha256:" + "cd" * 32,
        "platforms": ["linux/amd64"],
        "created": 1000.0,
        "size": 1_500_000,
    }
    assert json.loads(as_json(NAMELESS))["repository"] is None


def test_ids() -> None:
    """Whole with their algorithm, or cut without it."""
    assert short_id(ROW.image_id, None) == ROW.image_id
    assert short_id(ROW.image_id, 12) == "abababababab"
