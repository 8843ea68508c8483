"""Whole builds, recorded with the reference implementation: the same trees and configurations.

The cases and their runner stand in a folder outside of this repository, named by the variable
LAMINA_CONFORMANCE. What Lamina does not do yet is listed here with the reason, and a case that
works although it is listed fails, so that the list stays true.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lamina import COMMAND

_FOLDER = os.environ.get("LAMINA_CONFORMANCE")
_CASES = (
    sorted(path.stem for path in Path(_FOLDER, "integration").glob("*.json")) if _FOLDER else []
)

NOT_YET: dict[str, str] = {}

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(_FOLDER is None, reason="LAMINA_CONFORMANCE names no folder of cases"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What the runner says of every case, by name."""
    assert _FOLDER is not None
    scratch = tmp_path_factory.mktemp("conformance")
    answers = scratch / "results.json"
    builder = f"{COMMAND} --root {{store}} build"
    runner = [sys.executable, "-B", str(Path(_FOLDER, "run.py")), "--builder", builder]
    done = subprocess.run(
        [*runner, "--jobs", "2", "--json", str(answers)],
        cwd=scratch,
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answers.exists(), done.stdout + done.stderr
    return {result["name"]: result for result in json.loads(answers.read_text())["cases"]}


@pytest.mark.parametrize("name", _CASES)
def test_case(name: str, results: dict[str, dict[str, object]]) -> None:
    """The build gives what the reference gave, or is listed with the reason why not."""
    result = results[name]
    if result["status"] == "skipped":
        pytest.skip(str(result["details"]))
    if name in NOT_YET:
        assert result["status"] != "ok", f"works now, but is listed: {NOT_YET[name]}"
        pytest.xfail(NOT_YET[name])
    assert result["status"] == "ok", result["details"]
