"""Which user and group ids exist in the user namespace of this process (user_namespaces(7))."""

from __future__ import annotations

from typing import Final

import msgspec

_ALL: Final = 1 << 32

Ranges = tuple[tuple[int, int], ...]
"""First id inside, and how many."""


class IdMaps(msgspec.Struct, frozen=True, kw_only=True):
    """The ids that this process can give to files."""

    users: Ranges
    groups: Ranges

    @property
    def complete(self) -> bool:
        """Whether every id exists, as outside of any user namespace."""
        return _is_complete(self.users) and _is_complete(self.groups)

    def has_user(self, uid: int) -> bool:
        """Whether a file can be this user's."""
        return any(first <= uid < first + count for first, count in self.users)

    def has_group(self, gid: int) -> bool:
        """Whether a file can be this group's."""
        return any(first <= gid < first + count for first, count in self.groups)


def read_id_maps() -> IdMaps:
    """Those of this process."""
    return IdMaps(users=_read("/proc/self/uid_map"), groups=_read("/proc/self/gid_map"))


def _is_complete(ranges: Ranges) -> bool:
    return sum(count for _, count in ranges) >= _ALL - 1


def _read(path: str) -> Ranges:
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file]
    return tuple((int(inside), int(count)) for inside, _, count in lines)
