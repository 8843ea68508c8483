"""What `lamina fix` writes to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamina.control.check import find_dockerfiles, fix, write
from lamina.errors import UserError

BEFORE = "from scratch\nCOPY a /a\n"
AFTER = "FROM scratch\nCOPY a /a\n"


def test_nothing_outside_of_a_project_is_written(tmp_path: Path) -> None:
    """A project that somebody else wrote may hold links; they do not make its files of others."""
    others, project = tmp_path / "others", tmp_path / "project"
    for folder in (others, project):
        folder.mkdir()
    (others / "Dockerfile").write_text(BEFORE)
    (project / "Dockerfile").symlink_to(others / "Dockerfile")
    (mended,) = fix([str(project)], rules=["ConsistentInstructionCasing"])
    with pytest.raises(UserError, match="leads out of"):
        write(mended)
    assert (others / "Dockerfile").read_text() == BEFORE


def test_a_link_within_a_project_is_followed(tmp_path: Path) -> None:
    """The file is changed, the link stays."""
    (tmp_path / "real").write_text(BEFORE)
    (tmp_path / "Dockerfile").symlink_to("real")
    (mended,) = fix([str(tmp_path)], rules=["ConsistentInstructionCasing"])
    write(mended)
    assert (tmp_path / "real").read_text() == AFTER
    assert (tmp_path / "Dockerfile").is_symlink()


def test_a_pipe_is_no_dockerfile(tmp_path: Path) -> None:
    """To read it would take for ever."""
    (tmp_path / "Dockerfile").write_text(AFTER)
    os.mkfifo(tmp_path / "pipe.Dockerfile")
    assert find_dockerfiles([str(tmp_path)]) == (str(tmp_path / "Dockerfile"),)
