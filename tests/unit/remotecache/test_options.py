"""The attributes of `--cache-from` and `--cache-to`."""

from __future__ import annotations

import pytest

from lamina.content.compression import Compression
from lamina.errors import UsageError
from lamina.remotecache.options import (
    CacheForm,
    CacheOptions,
    Layout,
    Mode,
    parse_cache_options,
)


def parse(text: str, *, writes: bool = True) -> CacheOptions:
    pairs = (item.partition("=") for item in text.split(",") if item)
    attributes = {key: value for key, _, value in pairs}
    return parse_cache_options(attributes, kind="registry", writes=writes, more=("ref",))


def test_defaults_are_those_of_buildkit() -> None:
    """Nothing said: mode=min and gzip; what fails only warns."""
    options = parse("ref=a")
    assert options.mode is Mode.MIN
    assert options.layout is Layout.SINGLE
    assert options.form == CacheForm(compression=Compression.GZIP)
    assert options.ignore_error


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("0.5", 0.5), ("90s", 90), ("1m30s", 90), ("200ms", 0.2)]
)
def test_times_are_seconds_or_durations(text: str, seconds: float) -> None:
    """Both ways to write a time mean the same."""
    assert parse(f"min-cost={text}").min_cost == pytest.approx(seconds)
    assert parse(f"timeout={text}").timeout == pytest.approx(seconds)


def test_mounts_are_several() -> None:
    """Ids of cache mounts stand in one attribute."""
    assert parse("mounts=apt;npm").mounts == ("apt", "npm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mod=max", "did you mean mode"),
        ("mode=maxx", "did you mean max"),
        ("compression=estargz", "not supported"),
        ("compression=gzp", "did you mean gzip"),
        ("compression-level=fast", "not a number"),
        ("min-cost=long", "not a time"),
        ("timeout=-3s", "cannot be negative"),
        ("ignore-error=perhaps", "true or false"),
        ("layout=many", "no such layout"),
        ("scope=main", "belongs to layout=records"),
        ("read-only=true", "is an attribute of --cache-from"),
    ],
)
def test_bad_attributes_are_told(text: str, message: str) -> None:
    """Each mistake has a sentence, with the near word where there is one."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in f"{caught.value.message} {caught.value.hint}"


def test_attributes_of_the_other_flag_are_told() -> None:
    """What belongs to --cache-to is not taken by --cache-from."""
    with pytest.raises(UsageError, match="mode is an attribute of --cache-to"):
        parse("mode=max", writes=False)
