"""Users are looked up as Docker does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.executor.users import MAX_ID, Identity, UnknownUser, lookup

PASSWD = b"""# a comment
root:x:0:0:root:/root:/bin/sh

short:x:7:8
alice:x:1000:1001:Alice:/home/alice:/bin/sh
alice:x:2000:2001:A second one:/home/other:/bin/sh
bad:x:many:0::/:
\xff\xfe:x:3000:3000::/latin:
"""
GROUP = b"root:x:0:\nusers:x:100:bob,alice\nwheel:x:10:alice\n100:x:55:\n"


def _look(identity: Identity) -> tuple[int, int, tuple[int, ...], str]:
    return identity.uid, identity.gid, identity.groups, identity.home


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (0,), "/root")),
        ("root", (0, 0, (0,), "/root")),
        ("alice", (1000, 1001, (1001, 100, 10), "/home/alice")),
        ("1000", (1000, 1001, (1001, 100, 10), "/home/alice")),
        ("short", (7, 8, (8,), "/")),
        ("4242", (4242, 0, (0,), "/")),
        ("alice:wheel", (1000, 10, (10,), "/home/alice")),
        ("alice:100", (1000, 100, (100,), "/home/alice")),
        ("1000:9", (1000, 9, (9,), "/home/alice")),
        ("root:root", (0, 0, (0,), "/root")),
        (":wheel", (0, 10, (10,), "/root")),
        ("\udcff\udcfe", (3000, 3000, (3000,), "/latin")),
    ],
)
def test_table(user: str, expected: tuple[int, int, tuple[int, ...], str]) -> None:
    """First entries win, numbers are never names, groups that are given stand alone."""
    assert _look(lookup(user, PASSWD, GROUP)) == expected


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("bob", "unable to find user bob: no matching entries in passwd file"),
        ("bad", "unable to find user bad: no matching entries in passwd file"),
        ("alice:none", "unable to find group none: no matching entries in group file"),
        ("-1", f"uids and gids must be in range 0-{MAX_ID}"),
        ("2147483648", f"uids and gids must be in range 0-{MAX_ID}"),
        ("0:4294967296", f"uids and gids must be in range 0-{MAX_ID}"),
    ],
)
def test_unknown(user: str, message: str) -> None:
    """The words are those that users of Docker search the web for."""
    with pytest.raises(UnknownUser, match="^" + message):
        lookup(user, PASSWD, GROUP)


def test_image_without_files() -> None:
    """Without /etc/passwd numbers and root work, names do not."""
    assert _look(lookup("", b"", b"")) == (0, 0, (0,), "/")
    assert _look(lookup("5:6", b"", b"")) == (5, 6, (6,), "/")
    with pytest.raises(UnknownUser):
        lookup("root", b"", b"")


@given(st.text(), st.binary(), st.binary())
def test_hostile_files(user: str, passwd: bytes, group: bytes) -> None:
    """Whatever an image holds, the answer is an identity in range or UnknownUser."""
    try:
        found = lookup(user, passwd, group)
    except UnknownUser:
        return
    assert found.uid >= 0
    assert found.gid in found.groups


@given(st.integers(0, MAX_ID), st.integers(0, MAX_ID))
def test_two_numbers_need_no_file(uid: int, gid: int) -> None:
    assert _look(lookup(f"{uid}:{gid}", b"", b""))[:3] == (uid, gid, (gid,))
