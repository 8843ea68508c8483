"""The settings: a small file that says nothing by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.cache.eviction import Limits
from lamina.control.settings import DAY, load_settings, parse_settings
from lamina.errors import UsageError

TEXT = b"""
[cache]
max-size = "20GB"
keep-days = 14
[mounts."npm*"]
max-size = "2GB"
[mounts."npm-ci"]
keep-days = 0.5
"""


def test_a_file_says_how_much_may_stay(tmp_path: Path) -> None:
    """A variable goes before it."""
    path = tmp_path / "config.toml"
    path.write_bytes(TEXT)
    environ = {"LAMINA_CONFIG": str(path)}
    assert load_settings(environ).cache == Limits(max_size=20 << 30, keep_seconds=14 * DAY)
    environ["LAMINA_MAX_SIZE"] = "1MB"
    assert load_settings(environ).cache == Limits(max_size=1 << 20, keep_seconds=14 * DAY)


def test_a_mount_has_the_limits_of_its_id_then_of_a_pattern() -> None:
    """What fits exactly counts, wherever it stands."""
    settings = parse_settings(TEXT, "config.toml")
    assert settings.mount("npm-ci") == Limits(keep_seconds=DAY / 2)
    assert settings.mount("npm2") == Limits(max_size=2 << 30)
    assert settings.mount("pip") == Limits()


def test_the_file_is_found_where_such_files_are(tmp_path: Path) -> None:
    """Below $XDG_CONFIG_HOME, or ~/.config."""
    folder = tmp_path / ".config" / "lamina"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_bytes(TEXT)
    assert load_settings({"HOME": str(tmp_path)}).cache.max_size
    assert load_settings({"XDG_CONFIG_HOME": str(tmp_path / ".config")}).cache.max_size
    assert not load_settings({"XDG_CONFIG_HOME": str(tmp_path)}).cache.max_size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cash]", "there is no setting 'cash'"),
        ("[cache]\nmaxsize = 1", r"\[cache\]: there is no setting 'maxsize'"),
        ("[cache]\nmax-size = []", r"\[cache\] max-size: \[\] is no size"),
        ("[cache]\nmax-size = '3 apples'", r"\[cache\] max-size: invalid"),
        ("[cache]\nkeep-days = 'long'", r"\[cache\] keep-days: 'long' is not a number of days"),
        ("[cache]\nkeep-days = true", "not a number of days"),
        ("cache = 1", r"\[cache\] is not a table"),
        ("[mounts]\nnpm = 1", 'npm"] is not a table'),
        ("[cache", "config.toml: "),
    ],
)
def test_what_it_may_not_say_is_an_error(text: str, said: str) -> None:
    """In one sentence, with the place."""
    with pytest.raises(UsageError, match=said.replace('npm"]', r'npm"\]')):
        parse_settings(text.encode(), "config.toml")


def test_a_wrong_name_brings_the_nearest() -> None:
    """As a hint."""
    with pytest.raises(UsageError) as caught:
        parse_settings(b"[cache]\nmax-sise = 1", "config.toml")
    assert caught.value.hint == "did you mean max-size?"


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    """One that was not named may be missing."""
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings({"LAMINA_CONFIG": str(tmp_path / "none")})
    assert load_settings({"HOME": str(tmp_path)}).cache.keep_seconds is None
