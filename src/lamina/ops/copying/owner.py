"""Who owns what is written: users and groups looked up in the tree that is written to.

The rules of `--chown`: a number is never looked up; a user's number alone stands for the group too;
the group of a name is that of its line in /etc/passwd. A name that is not there counts as 0, as
BuildKit has it (its documentation says otherwise), which deserves a warning: `unknown`. USER has
other rules (executor.users): a name that is not there is an error, a number has a row and groups.
See passwd(5), group(5), and "COPY --chown" in the Dockerfile reference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from lamina.errors import HostError, UserError
from lamina.layer.entry import Entry, Kind
from lamina.layer.tree import Tree

_PASSWD: Final = b"etc/passwd"
_GROUP: Final = b"etc/group"
_LARGEST_FILE: Final = 10 << 20
_LARGEST_ID: Final = 2**31 - 1
_NUMBER: Final = re.compile(r"\+?[0-9]+\Z")


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """User and group by number. `unknown` are the names that were not found and count as 0."""

    uid: int
    gid: int
    unknown: tuple[str, ...] = ()


def find_owner(text: str, tree: Tree) -> Owner:
    """The owner that `user[:group]` names in the tree.

    Raises UserError where /etc/passwd or /etc/group is too large or no file.
    """
    user, colon, group = text.partition(":")
    unknown: list[str] = []
    uid = _number(user)
    gid = uid
    if uid is None:
        row = next(_rows(tree, _PASSWD, user), None)
        if row is None:
            unknown.append(user)
        uid, gid = (_field(row, 2), _field(row, 3)) if row else (0, 0)
    if colon:
        gid = _number(group)
        if gid is None:
            row = next(_rows(tree, _GROUP, group), None)
            if row is None:
                unknown.append(group)
            gid = _field(row, 2) if row else 0
    assert gid is not None
    return Owner(uid=uid, gid=gid, unknown=tuple(unknown))


def _number(text: str) -> int | None:
    if text in ("", "root"):
        return 0
    if not _NUMBER.match(text):
        return None
    number = int(text)
    return number if number <= _LARGEST_ID else None


def _rows(tree: Tree, path: bytes, name: str) -> Iterator[list[bytes]]:
    """The lines of a file of users or groups that begin with the name."""
    wanted = os.fsencode(name)
    for line in _read(tree, path).split(b"\n"):
        fields = line.strip().split(b":")
        if fields[0] == wanted:
            yield fields


def _field(row: list[bytes], index: int) -> int:
    text = row[index] if len(row) > index else b""
    return int(text) if text.isdigit() else 0


def _read(tree: Tree, path: bytes) -> bytes:
    entry = tree.lookup(path)
    if entry is None:
        return b""
    if entry.kind not in (Kind.FILE, Kind.HARDLINK):
        raise UserError(f"/{os.fsdecode(path)} is not a regular file")
    data = _content(tree, entry)
    if len(data) > _LARGEST_FILE:
        raise UserError(f'"/{os.fsdecode(path)}" exceeds {_LARGEST_FILE} bytes')
    return data


def _content(tree: Tree, entry: Entry) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(tree.host_path(entry.path), flags), "rb") as file:
            return file.read(_LARGEST_FILE + 1)
    except OSError as error:
        name = os.fsdecode(entry.path)
        raise HostError(f"/{name} cannot be read: {error.strerror}") from error
