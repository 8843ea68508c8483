"""`lamina build` and its checks, by the command line."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest

from tests.support.commands import run
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

BAD = "FROM scratch as base\nCOPY Dockerfile /\nENV a b\n"
# The command under test, which says at its end which modules it has imported.
IMPORTS = """
import sys
from lamina.cli.main import main
sys.argv = ["lamina", *sys.argv[2:]]
code = main()
print("advisor" if any(name.startswith("lamina.advisor") for name in sys.modules) else "none")
sys.exit(code)
"""


def test_a_build_warns_at_its_end_and_remembers(lamina: Lamina, tmp_path: Path) -> None:
    """A cached build says the same without looking at a rule; a changed file is looked at anew."""
    (tmp_path / "Dockerfile").write_text(BAD)
    told = "\n 2 warnings found (lamina build --check shows more):\n - FromAsCasing: "
    first = lamina.build(tmp_path, "--output=type=cacheonly").must_succeed()
    assert told in first.stderr
    assert "(line 1)\n - LegacyKeyValueFormat: " in first.stderr
    command = lamina.build_command(tmp_path, "--output=type=cacheonly")
    cached = run([sys.executable, "-c", IMPORTS, *command], env=lamina.env()).must_succeed()
    assert told in cached.stderr
    assert cached.stdout.splitlines()[-1] == "none"
    (tmp_path / "Dockerfile").write_text(BAD.replace(" as ", " AS "))
    assert "1 warning found" in lamina.build(tmp_path, "--output=type=cacheonly").stderr


def test_check_prints_and_builds_nothing(lamina: Lamina, tmp_path: Path) -> None:
    """In the format of buildx; the exit code tells whether there was something."""
    (tmp_path / "Dockerfile").write_text(BAD + "RUN false\n")
    outcome = lamina.build(tmp_path, "--call=lint")
    assert outcome.code == 1
    assert outcome.stdout.startswith("Check complete, 2 warnings have been found!\n\nWARNING: From")
    url = "https://docs.docker.com/go/dockerfile/rule/from-as-casing/"
    assert f"WARNING: FromAsCasing - {url}\n'as' and 'FROM'" in outcome.stdout
    assert "\nDockerfile:1\n--------------------\n   1 | >>> FROM scratch as" in outcome.stdout
    assert "RUN" not in outcome.stderr
    checked = lamina.build(tmp_path, "--check")
    assert checked.code == 1
    assert "WARNING: FromAsCasing" in checked.stdout
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    clean = lamina.build(tmp_path, "--call=lint").must_succeed()
    assert clean.stdout == "Check complete, no warnings found.\n"


def test_check_as_json(lamina: Lamina, tmp_path: Path) -> None:
    """The document that tools around buildx read, with the error where there is one."""
    (tmp_path / "Dockerfile").write_text("FROM scratch AS Bad\nBADCMD\n")
    outcome = lamina.build(tmp_path, "--call=lint,format=json")
    assert outcome.code == 1
    document = json.loads(outcome.stdout)
    (warning,) = document["warnings"]
    assert warning["ruleName"] == "StageNameCasing"
    assert warning["location"] == {"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]}
    message = document["buildError"]["message"]
    assert message == "dockerfile parse error on line 2: unknown instruction: BADCMD"
    (source,) = document["sources"]
    assert base64.b64decode(source["data"]) == (tmp_path / "Dockerfile").read_bytes()
    ignored = lamina.build(tmp_path, "--call=lint,format=json,ignorestatus=true")
    assert ignored.code == 1  # an error is no finding


def test_findings_as_errors(lamina: Lamina, tmp_path: Path) -> None:
    """`error=true` fails the build before a step runs, again and again; skipped rules do not."""
    (tmp_path / "Dockerfile").write_text(f"# check=error=true\n{BAD}RUN false\n")
    for _ in range(2):
        outcome = lamina.build(tmp_path, "--output=type=cacheonly")
        assert outcome.code == 1
        assert (
            "lint violation found for rules: FromAsCasing, LegacyKeyValueFormat" in outcome.stderr
        )
        assert "Dockerfile:2\n" in outcome.stderr
        assert "RUN false" not in outcome.stderr.partition("ERROR:")[0]
    (tmp_path / "Dockerfile").write_text(f"# check=error=true\n{BAD}")
    skipped = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all;error=true"
    lamina.build(tmp_path, "--output=type=cacheonly", skipped).must_succeed()


def test_wrong_options_fail(lamina: Lamina, tmp_path: Path) -> None:
    """A misspelt option is said, and not passed over."""
    (tmp_path / "Dockerfile").write_text("# check=skpi=all\nFROM scratch\n")
    outcome = lamina.build(tmp_path, "--output=type=cacheonly")
    assert outcome.code == 1
    assert 'failed to parse check options: invalid check option "skpi"' in outcome.stderr


def test_a_failed_build_is_warned_of_too(lamina: Lamina, tmp_path: Path) -> None:
    """A finding is often the cause of the error."""
    (tmp_path / "Dockerfile").write_text("FROM --platform=$BULIDPLATFORM scratch\n")
    outcome = lamina.build(tmp_path, "--output=type=cacheonly")
    assert outcome.code == 1
    assert "(did you mean BUILDPLATFORM?) (line 1)" in outcome.stderr


def test_targets(lamina: Lamina, tmp_path: Path) -> None:
    """The stages with their descriptions, the default marked."""
    (tmp_path / "Dockerfile").write_text(
        "# base what all others need\nFROM scratch AS base\nFROM base AS app\n"
    )
    outcome = lamina.build(tmp_path, "--call=targets").must_succeed()
    assert outcome.stdout.split("\n")[1:] == [
        "base            what all others need",
        "app (default)",
        "",
    ]
    document = json.loads(lamina.build(tmp_path, "--call=targets,format=json").stdout)
    assert [target["name"] for target in document["targets"]] == ["base", "app"]
    assert document["targets"][1]["default"] is True


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("outline", "--call=outline is not supported yet"),
        ("chek", "did you mean check?"),
        ("check,format=xml", "unknown format 'xml'"),
        ("check,color=1", "unknown option 'color'"),
    ],
)
def test_calls_that_make_no_sense(lamina: Lamina, tmp_path: Path, call: str, said: str) -> None:
    """They are refused with a sentence."""
    outcome = lamina.build(tmp_path, f"--call={call}")
    assert outcome.code == 2
    assert said in outcome.stderr
