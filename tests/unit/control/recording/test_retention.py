"""How many records of builds are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamina.control.recording.retention import Keep, parse_keep, trim
from lamina.errors import UsageError


@pytest.mark.parametrize(
    ("text", "builds", "size"),
    [
        ("", 100, 200_000_000),
        ("7", 7, 200_000_000),
        ("3,1k", 3, 1024),
        ("0", 0, 200_000_000),
    ],
)
def test_the_setting(text: str, builds: int, size: int) -> None:
    """Builds, bytes or both."""
    assert parse_keep({"LAMINA_HISTORY_KEEP": text}) == Keep(builds=builds, size=size)


def test_a_wrong_setting() -> None:
    """It is named."""
    with pytest.raises(UsageError, match="LAMINA_HISTORY_KEEP"):
        parse_keep({"LAMINA_HISTORY_KEEP": "much"})


def folder(root: Path, number: int, *, size: int = 10, running: bool = False) -> Path:
    path = root / f"{number:026x}"
    path.mkdir()
    (path / ("running.json" if running else "record.json")).write_bytes(bytes(size))
    os.utime(path, (1000 + number, 1000 + number))
    return path


def test_the_oldest_go(tmp_path: Path) -> None:
    """Never one that runs, and never the one that is just written."""
    running = folder(tmp_path, 1, running=True)
    others = [folder(tmp_path, number) for number in range(2, 7)]
    trim(str(tmp_path), Keep(builds=2), spare=others[0].name, weigh=False, now=1010.0)
    assert sorted(tmp_path.iterdir()) == [running, others[0], others[-1]]


def test_bytes_count_where_they_are_weighed(tmp_path: Path) -> None:
    """One large log is worth many records."""
    paths = [folder(tmp_path, number, size=400) for number in range(1, 5)]
    trim(str(tmp_path), Keep(size=1000), spare=paths[-1].name, weigh=True, now=1010.0)
    assert sorted(tmp_path.iterdir()) == paths[-2:]


def test_a_build_that_was_killed_long_ago_goes_too(tmp_path: Path) -> None:
    """After a week nobody waits for its end."""
    folder(tmp_path, 1, running=True)
    trim(str(tmp_path), Keep(builds=0), spare="", weigh=False, now=1000.0 + 8 * 86400)
    assert list(tmp_path.iterdir()) == []
