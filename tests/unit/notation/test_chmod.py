"""The modes of --chmod."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.errors import UserError
from lamina.notation.chmod import parse_mode_change


@pytest.mark.parametrize(
    ("text", "mode", "directory", "want"),
    [
        ("755", 0o600, False, 0o755),
        ("0", 0o644, False, 0),
        ("4755", 0o600, True, 0o4755),
        ("go-w", 0o666, False, 0o644),
        ("u=rw,g=r,o=r", 0o666, False, 0o644),
        ("a+X", 0o666, False, 0o666),
        ("a+X", 0o646, True, 0o757),
        ("go-w", 0o124, True, 0o104),
        ("u+rw,g+r,o-x,o+w", 0o124, True, 0o766),
        ("a+X", 0o124, True, 0o135),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("+x", 0o644, False, 0o755),
        ("=r", 0o777, False, 0o444),
        ("go=u", 0o740, False, 0o777),
        ("go=u-w", 0o740, False, 0o755),
        ("go=", 0o777, False, 0o700),
        ("u+s,g+s", 0o755, False, 0o6755),
        ("+t", 0o755, True, 0o1755),
        ("o+s,o+t", 0o755, False, 0o755),
        ("u-s", 0o4755, False, 0o755),
        ("g=o", 0o705, False, 0o755),
    ],
)
def test_modes(text: str, mode: int, directory: bool, want: int) -> None:
    """Octal modes replace; symbolic ones change what the source has."""
    assert oct(parse_mode_change(text).apply(mode, is_directory=directory)) == oct(want)


def test_no_mode_keeps_the_mode() -> None:
    """Without --chmod everything stays as it was."""
    assert parse_mode_change(None).apply(0o4711, is_directory=False) == 0o4711


def test_parents_have_octal_modes_alone() -> None:
    """A directory that has to be made takes permission bits from an octal mode, else it is 0755."""
    assert parse_mode_change("4770").parents == 0o770
    assert parse_mode_change("u=rwx").parents == 0o755
    assert parse_mode_change(None).parents == 0o755


@pytest.mark.parametrize("text", ["64a", "10000", "8", "u", "u=q", "z+r", "u+r,", "rwx"])
def test_what_is_no_mode_is_an_error(text: str) -> None:
    """The error names the parameter."""
    with pytest.raises(UserError, match=re.escape(f"invalid chmod parameter: '{text}'")):
        parse_mode_change(text)


# X asks for the mode before all changes here, and for the one so far in GNU's chmod.
clauses = st.from_regex(r"\A[ugo]{1,2}[-+=](?:[rwx]{0,3}|[ugo])\Z")


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    text=st.lists(clauses, min_size=1, max_size=3).map(",".join),
    mode=st.integers(0, 0o777),
    directory=st.booleans(),
)
def test_it_agrees_with_chmod(tmp_path: Path, text: str, mode: int, directory: bool) -> None:
    """The system's chmod(1) makes the same of it."""
    path = tmp_path / ("directory" if directory else "file")
    if directory:
        path.mkdir(exist_ok=True)
    else:
        path.touch()
    os.chmod(path, mode)
    subprocess.run(["chmod", text, str(path)], check=True)
    got = parse_mode_change(text).apply(mode, is_directory=directory)
    assert oct(got) == oct(os.stat(path).st_mode & 0o7777)
