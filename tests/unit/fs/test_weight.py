"""How much a folder holds, as far as that can be told quickly."""

from __future__ import annotations

import os
from pathlib import Path

from lamina.fs.weight import weigh


def test_all_files_count_once(tmp_path: Path) -> None:
    """Those of folders in it, and one that has two names; a symlink leads nowhere."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "y").write_bytes(b"123")
    os.link(tmp_path / "y", tmp_path / "a" / "z")
    weighed, whole = weigh(str(tmp_path), patience=60)
    assert (weighed, whole) == (8, True)
    (tmp_path / "out").symlink_to("/usr")
    assert weigh(str(tmp_path), patience=60) == (8 + len("/usr"), True)


def test_patience_ends(tmp_path: Path) -> None:
    """What was counted by then is told as that; a folder that is not there holds nothing."""
    assert weigh(str(tmp_path), patience=-1) == (0, False)
    assert weigh(str(tmp_path / "no"), patience=60) == (0, True)
