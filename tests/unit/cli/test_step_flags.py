"""Flags about the steps: limits, and what happens when one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.cli.step_flags import check_on_error, parse_on_error, parse_resources
from lamina.cli.values import Values
from lamina.control.request import OnError
from lamina.errors import UsageError
from lamina.executor.spec import NO_LIMITS, Resources


def test_limits() -> None:
    """As buildx has them, as `docker build` had them, and both: the newer flag counts."""
    assert parse_resources(Values({})) == NO_LIMITS
    given = Values({"resource": ("memory=2g,memory-swap=-1", '"cpuset-cpus=0,2"'), "memory": "1g"})
    assert parse_resources(given) == Resources(memory=2 << 30, memory_swap=-1, cpuset_cpus="0,2")
    assert parse_resources(Values({"cpu_shares": "512"})) == Resources(cpu_shares=512)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("shell", OnError(action="shell")),
        ("keep", OnError(action="keep")),
        ("export=out", OnError(action="export", dest="out")),
        ("export=out,whole", OnError(action="export", dest="out", whole=True)),
        ("export=out,whole=false", OnError(action="export", dest="out")),
    ],
)
def test_on_error(text: str | None, expected: OnError | None) -> None:
    assert parse_on_error(text) == expected


def test_a_folder_to_export_to(tmp_path: Path) -> None:
    """It is missing or empty, and there is one to make it in."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("empty", "new"):
        check_on_error(OnError(action="export", dest=str(tmp_path / name)), terminal=False)
    for path in (tmp_path, tmp_path / "file", tmp_path / "no/where"):
        with pytest.raises(UsageError):
            check_on_error(OnError(action="export", dest=str(path)), terminal=False)
