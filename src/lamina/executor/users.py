"""Looks a user up in the /etc/passwd and /etc/group of an image (passwd(5), group(5)).

The rules of USER, which are those of a process; `--chown` has its own (ops.copying.owner).
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_ID = 2**31 - 1
MAX_FILE = 10 << 20


class UnknownUser(ValueError):
    """The user or the group is not in the image; the text says which."""


class Identity:
    """Who a process runs as; `home` is from /etc/passwd, else `/`."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def lookup(user: str, passwd: bytes, group: bytes) -> Identity:
    """`user` as in a USER instruction: `name`, `uid`, `name:group`, `uid:gid`, or "" for root.

    A number is never looked up as a name. The supplementary groups are those that list the user,
    but none where a group is given; the primary group is always among them.
    """
    if user == "":
        try:
            return lookup("0", passwd, group)
        except UnknownUser:
            return Identity(0, 0, (0,), "/")
    both = _both_numbers(user)
    if both is not None:
        return Identity(*both, (both[1],), _home_of(both[0], passwd))
    name, _, group_name = user.partition(":")
    uid = _number(name)
    row = next(_matching(passwd, name=name or "0", number=0 if name == "" else uid), None)
    if row is None and uid is None:
        raise UnknownUser(f"unable to find user {name}: no matching entries in passwd file")
    account = row[0] if row else None
    found_uid, gid = (row[1], row[2]) if row else (uid or 0, 0)
    groups: tuple[int, ...] = ()
    if group_name:
        gid = _group(group_name, group)
    elif account is not None:
        groups = tuple(_memberships(account, group))
    if gid not in groups:
        groups = (gid, *groups)
    return Identity(found_uid, gid, groups, _home_of(found_uid, passwd))


def _both_numbers(user: str) -> tuple[int, int] | None:
    name, colon, group = user.partition(":")
    if not colon:
        return None
    name, group = ("0" if part == "root" else part for part in (name, group))
    if name.isascii() and name.isdigit() and group.isascii() and group.isdigit():
        return _checked(int(name)), _checked(int(group))
    return None


def _number(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    return _checked(int(text))


def _checked(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise UnknownUser(f"uids and gids must be in range 0-{MAX_ID}")
    return number


def _group(name: str, group: bytes) -> int:
    gid = _number(name)
    if gid is not None:
        return gid
    for row in _rows(group, 4):
        number = _id(row[2])
        if row[0] == name and number is not None:
            return number
    raise UnknownUser(f"unable to find group {name}: no matching entries in group file")


def _memberships(account: str, group: bytes) -> Iterator[int]:
    for row in _rows(group, 4):
        number = _id(row[2])
        if account in row[3].split(",") and number is not None:
            yield number


def _home_of(uid: int, passwd: bytes) -> str:
    for row in _rows(passwd, 7):
        if _id(row[2]) == uid:
            return row[5] or "/"
    return "/"


def _matching(passwd: bytes, *, name: str, number: int | None) -> Iterator[tuple[str, int, int]]:
    for row in _rows(passwd, 4):
        uid, gid = _id(row[2]), _id(row[3])
        if uid is None:
            continue
        if uid == number if number is not None else row[0] == name:
            yield row[0], uid, gid or 0


def _rows(data: bytes, columns: int) -> Iterator[list[str]]:
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        row = line.strip().split(":")
        if row == [""] or row[0].startswith("#"):
            continue
        yield row + [""] * (columns - len(row))


def _id(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
