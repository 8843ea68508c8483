"""What goes first when the store has to give something up: a plan, made from values alone.

    1. what nothing refers to
    2. what was not used for `keep_seconds`
    3. of what is left, until there is room: what is cheapest to have again per byte and longest
       unused, by the least   seconds to have it again / bytes / seconds since it was used

What a running build uses never goes, nor what an image needs. A step's result that a newer one of
the same step has replaced counts as cheap: it is of use only to somebody who goes back.

Rejected: the longest unused alone (a compiler that took an hour goes before yesterday's COPY), the
largest alone (what is large is mostly what was expensive to make).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

_LEAST: Final = 1.0  # seconds; what was used just now was not used infinitely lately
_REPLACED: Final = 0.1


class Kind(enum.StrEnum):
    """What an item is."""

    STEP = "step"  # the layer that a step made
    BASE = "base"  # an unpacked layer of an image
    BLOB = "blob"
    MOUNT = "mount"  # a copy of a cache mount


class Why(enum.StrEnum):
    """Why an item goes."""

    USELESS = "nothing refers to it"
    AGED = "not used for too long"
    ROOM = "to make room"
    ALL = "all was asked for"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Something that may go. `name` identifies it within its kind.

    `size` in bytes on disk, `used` the last time, in seconds since 1970; `seconds` is what it takes
    to have it again, `depth` how many layers lie below it. `what` is a text for people. `useless`:
    nothing refers to it. `replaced`: a newer result of the same step is there. `needed` says who
    needs it: it cannot go.
    """

    kind: Kind
    name: str
    size: int
    used: float
    seconds: float
    what: str = ""
    depth: int = 0
    useless: bool = False
    replaced: bool = False
    needed: str = ""

    def worth(self, now: float) -> float:
        """The least goes first."""
        unused = max(now - self.used, _LEAST)
        seconds = self.seconds * (_REPLACED if self.replaced else 1)
        return seconds / max(self.size, 1) / unused


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the store may hold at most (bytes), and for how long what is not used (seconds).

    None is no limit.
    """

    max_size: int | None = None
    keep_seconds: float | None = None


class Going(msgspec.Struct, frozen=True, kw_only=True):
    """An item that goes."""

    item: Item
    why: Why


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What goes, in its order; `lacking` are the bytes that are still too much afterwards."""

    going: tuple[Going, ...]
    lacking: int = 0

    @property
    def freed(self) -> int:
        """In bytes."""
        return sum(going.item.size for going in self.going)


def plan(
    items: Sequence[Item],
    limits: Limits,
    *,
    total: int,
    now: float,
    room: int = 0,
    everything: bool = False,
) -> Plan:
    """What has to go so that the store, which holds `total` bytes, keeps the limits and has `room`
    bytes to spare. `everything`: all that may go does.
    """
    free = [item for item in items if not item.needed]
    going = [Going(item=item, why=Why.USELESS) for item in _first(free, now) if item.useless]
    left = [item for item in _first(free, now) if not item.useless]
    if everything:
        return Plan(going=(*going, *(Going(item=item, why=Why.ALL) for item in left)))
    if limits.keep_seconds is not None:
        oldest = now - limits.keep_seconds
        going += [Going(item=item, why=Why.AGED) for item in left if item.used < oldest]
        left = [item for item in left if item.used >= oldest]
    if limits.max_size is None:
        return Plan(going=tuple(going))
    lacking = total + room - limits.max_size - sum(each.item.size for each in going)
    for item in left:
        if lacking <= 0:
            break
        going.append(Going(item=item, why=Why.ROOM))
        lacking -= item.size
    return Plan(going=tuple(going), lacking=max(lacking, 0))


def _first(items: Iterable[Item], now: float) -> list[Item]:
    """The next to go first; of equals the one that most others lie below."""
    return sorted(items, key=lambda item: (item.worth(now), -item.depth, item.name))
