"""Platforms: text, canonical names, and which one runs what."""

from __future__ import annotations

import pytest

from lamina.errors import UserError
from lamina.oci.platform import Platform, host_platform, matches, normalized, parse_platform, rank

HOST = host_platform("x86_64")


def platform(text: str) -> Platform:
    return parse_platform(text, host=HOST)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("linux", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("local", "linux/amd64"),
        ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
    ],
)
def test_platforms_have_one_name(text: str, canonical: str) -> None:
    """Every spelling becomes the canonical one, which is read back as itself."""
    parsed = platform(text)
    assert str(parsed) == canonical
    assert platform(canonical) == parsed
    assert normalized(parsed) == parsed


@pytest.mark.parametrize("text", ["", "linux/", "/amd64", "linux/a/b/c", "l!nux/amd64", "toaster"])
def test_nonsense_is_no_platform(text: str) -> None:
    """What cannot be a platform is refused."""
    with pytest.raises(UserError, match="not a platform"):
        platform(text)


@pytest.mark.parametrize(
    ("wanted", "best_first", "never"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"], ["linux/amd64/v2", "linux/arm64"]),
        (
            "linux/amd64/v3",
            ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"],
            ["linux/amd64/v4"],
        ),
        ("linux/386", ["linux/386"], ["linux/amd64"]),
        ("linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"], ["linux/arm/v8"]),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"], ["linux/arm/v7"]),
        (
            "linux/arm64",
            ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6"],
            ["linux/amd64", "linux/arm64/v8.1", "windows/arm64"],
        ),
        (
            "linux/arm64/v9",
            ["linux/arm64/v9", "linux/arm64/v8.5", "linux/arm64", "linux/arm/v7"],
            ["linux/arm64/v9.1", "linux/arm64/v8.6"],
        ),
        ("linux/riscv64", ["linux/riscv64"], ["linux/amd64"]),
    ],
)
def test_processors_run_what_was_made_for_their_predecessors(
    wanted: str, best_first: list[str], never: list[str]
) -> None:
    """Nearer relatives rank better; later ones and strangers do not match at all."""
    ranks = [rank(platform(wanted), platform(each)) for each in best_first]
    assert ranks[0] == 0
    assert None not in ranks
    assert ranks == sorted(ranks, key=lambda place: place or 0)
    assert len(set(ranks)) == len(ranks)
    assert not any(matches(platform(wanted), platform(each)) for each in never)


def test_features_must_be_there() -> None:
    """An image that needs a feature of the operating system does not match without it."""
    needs = Platform(os="linux", architecture="amd64", os_features=("special",))
    assert not matches(HOST, needs)
    assert matches(needs, HOST)
