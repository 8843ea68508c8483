"""Which mounts travel, and which earlier state a mount starts from."""

from __future__ import annotations

import pytest

from lamina.errors import UsageError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.platform import Platform
from lamina.remotecache.document import MountState
from lamina.remotecache.mounts.choosing import ALL, NONE, choose, common_segments, merged, nearest

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64")


def state(name: str, *, saved: float = 1.0, platform: Platform = AMD64) -> MountState:
    manifest = Descriptor(media_type="x", digest=digest_of(f"{name}{saved}".encode()), size=1)
    return MountState(id=name, platform=str(platform), manifest=manifest, packs=(), saved=saved)


def chosen(name: str, *states: MountState, others: tuple[str, ...] = ()) -> MountState | None:
    return nearest(states, name=name, platform=AMD64, others=others)


def test_the_own_state_is_taken_even_if_another_is_newer() -> None:
    """Of several own ones, the newest."""
    own = state("npm-1", saved=2)
    assert chosen("npm-1", state("npm-2", saved=9), state("npm-1", saved=1), own) == own


def test_the_longest_common_beginning_wins_then_the_newest() -> None:
    """As with restore-keys, from the most special to the most general."""
    near = state("npm-linux-2", saved=3)
    states = (state("npm-linux-1", saved=2), near, state("npm-mac-3", saved=9))
    assert chosen("npm-linux-4", *states) == near


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("npm-1", "np-1"),
        ("npm1", "npm2"),
        ("/root/.npm", "/root/.cache"),
        ("team//root/.npm", "team//root/.cache"),
        ("npm-1", "/npm-1"),
    ],
)
def test_nothing_in_common_is_not_near(name: str, other: str) -> None:
    """A part of a word is nothing, and paths are not names."""
    assert chosen(name, state(other)) is None


def test_another_platform_is_never_near() -> None:
    """What was compiled for arm64 is of no use."""
    assert chosen("go", state("go", platform=ARM64)) is None


def test_another_mount_of_the_same_build_is_not_near() -> None:
    """apt-lists is not an earlier apt-cache."""
    assert chosen("apt-cache", state("apt-lists"), others=("apt-lists",)) is None
    assert chosen("apt-cache", state("apt-lists")) == state("apt-lists")


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("a-b", "a-c", 1),
        ("a/b:c.d", "a/b:c.d", 4),
        ("a-b", "a/b", 1),
        ("a", "a-b", 1),
        ("-a", "-a", 1),
        ("", "a", 0),
    ],
)
def test_segments_are_counted_from_the_start(one: str, other: str, count: int) -> None:
    """With the separators between them."""
    assert common_segments(one, other) == count


def test_a_build_that_used_one_mount_keeps_the_others() -> None:
    """And replaces its own state, even by one that a clock calls older."""
    old = [state("apt"), state("npm", saved=5)]
    assert merged(old, [state("npm", saved=4)]) == (state("apt"), state("npm", saved=4))


def test_choices() -> None:
    """`all`, `none`, ids; nothing is the default."""
    assert "npm" in choose(("npm", "apt"), default=NONE)
    assert "pip" not in choose(("npm", "apt"), default=NONE)
    assert choose((), default=ALL) is ALL
    assert choose(("all",), default=NONE) is ALL
    assert choose(("none",), default=ALL) is NONE
    with pytest.raises(UsageError, match="stands alone"):
        choose(("all", "npm"), default=NONE)
