"""What `lamina context` says of a directory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from lamina.advisor.ignorable import ignorable
from lamina.context.survey import Survey
from lamina.control.context import survey_context, why_path
from lamina.control.request import BuildRequest
from lamina.errors import UserError

DOCKERFILE = """\
FROM alpine AS tools
ARG DIR=src
COPY $DIR/*.py /app/
RUN --mount=type=bind,source=docs,target=/docs true
FROM scratch
COPY --from=tools /app /app
"""


def make(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def look(folder: Path, tmp_path: Path, **build_args: str) -> Survey:
    request = BuildRequest(context=str(folder), build_args=build_args)
    return survey_context(request, root=str(tmp_path / "store"), stdin=io.BytesIO(), environ={})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make(
        tmp_path / "project",
        {
            "Dockerfile": DOCKERFILE,
            ".dockerignore": "*.log\n!keep.log\nsecret\n",
            "src/a.py": "a",
            "src/deep/b.py": "b",
            "docs/index.md": "docs",
            "keep.log": "",
            "x.log": "",
            "secret/key": "",
            "other.txt": "unused",
        },
    )


def test_who_takes_a_file(project: Path, tmp_path: Path) -> None:
    """Variables, wildcards, mounts and unused stages count as they would in a build."""
    found = look(project, tmp_path)
    assert [use.span.line for use in found.users(b"src/a.py")] == [3]
    assert [use.span.line for use in found.users(b"docs")] == [4]
    assert found.users(b"src/deep/b.py") == ()
    assert {one.path for one in found.unused()} == {b"keep.log", b"other.txt", b"src/deep/b.py"}


def test_a_build_argument_changes_what_is_taken(project: Path, tmp_path: Path) -> None:
    """The survey is that of a build with these arguments."""
    found = look(project, tmp_path, DIR="src/deep")
    assert [use.span.line for use in found.users(b"src/deep/b.py")] == [3]


def test_a_source_that_is_not_there_is_told_and_nothing_fails(tmp_path: Path) -> None:
    """A COPY of an ignored file is named with the rule that hides it."""
    folder = make(
        tmp_path / "p",
        {"Dockerfile": "FROM scratch\nCOPY a.txt /\n", ".dockerignore": "*.txt", "a.txt": ""},
    )
    (use,) = look(folder, tmp_path).uses
    assert use.missing == "/a.txt"
    assert ".dockerignore line 1" in use.hint


@pytest.mark.parametrize(
    ("path", "exists", "ignored", "rule"),
    [
        ("src/a.py", True, False, ""),
        ("x.log", True, True, ".dockerignore line 1: *.log"),
        ("keep.log", True, False, ".dockerignore line 2: !keep.log"),
        ("secret/key", True, True, ".dockerignore line 3: secret"),
        ("new.log", False, True, ".dockerignore line 1: *.log"),
    ],
)
def test_why_a_path_is_in_or_out(
    project: Path, tmp_path: Path, path: str, exists: bool, ignored: bool, rule: str
) -> None:
    """The rule that decided is named, also the one that takes a path back."""
    reason = why_path(look(project, tmp_path), path, directory=str(project))
    assert (reason.exists, reason.ignored, reason.rule) == (exists, ignored, rule)


def test_a_path_from_the_working_directory(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is only there as seen from where the user stands is meant so."""
    monkeypatch.chdir(project / "src")
    assert why_path(look(project, tmp_path), "a.py", directory=str(project)).path == b"src/a.py"
    with pytest.raises(UserError, match="outside of the build context"):
        why_path(look(project, tmp_path), "../../../x", directory=str(project))


def test_a_mistyped_path(project: Path, tmp_path: Path) -> None:
    """The nearest path that goes to the build is offered."""
    reason = why_path(look(project, tmp_path), "other.tx", directory=str(project))
    assert (reason.exists, reason.near) == (False, "other.txt")


def test_what_could_be_ignored(tmp_path: Path) -> None:
    """Known litter is suggested with its weight, unless an instruction names it."""
    folder = make(
        tmp_path / "p",
        {
            "Dockerfile": "FROM scratch\nCOPY . /app\nCOPY .env.prod /app/.env\n",
            ".git/objects/x": "x" * 100,
            "a/__pycache__/m.pyc": "12345",
            "b/__pycache__/m.pyc": "12345",
            ".env": "TOKEN=1",
            ".env.prod": "",
            ".env.example": "",
        },
    )
    lines = ignorable(look(folder, tmp_path))
    assert [(line.pattern, line.size, line.count) for line in lines] == [
        (".git", 100, 1),
        ("**/__pycache__", 10, 2),
        (".env", 7, 1),
    ]
