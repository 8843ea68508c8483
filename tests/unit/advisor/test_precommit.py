"""The definition of the hooks for pre-commit."""

from __future__ import annotations

import io
from pathlib import Path

import yaml

from lamina.cli.command import Session, group

HOOKS = Path(__file__).parents[3] / ".pre-commit-hooks.yaml"


def test_the_hooks_are_commands_that_there_are(tmp_path: Path) -> None:
    """Each hook runs a command of lamina with flags that it knows, over files it is given."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    for hook in yaml.safe_load(HOOKS.read_text()):
        assert hook["types"] == ["dockerfile"]
        program, *args = hook["entry"].split()
        assert program == "lamina"
        session = Session(
            environ={},
            stdin=io.BytesIO(),
            stdout=io.BytesIO(),
            stderr=io.BytesIO(),
            cwd=str(tmp_path),
            root=str(tmp_path / "root"),
        )
        command = [*args, str(tmp_path / "Dockerfile")]
        with group().make_context("lamina", command, obj=session) as context:
            assert context.command.invoke(context) == 0
