"""Which mounts travel, and which earlier state a mount starts from."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from lamina.errors import UsageError
from lamina.graph.mounts import CacheMount
from lamina.graph.ops import ExecOp
from lamina.graph.vertex import Vertex
from lamina.oci.platform import Platform
from lamina.remotecache.document import MountState

_SEGMENTS: Final = re.compile(r"[^-/:.]+|[-/:.]")
_SEPARATORS: Final = frozenset("-/:.")


class MountChoice(msgspec.Struct, frozen=True):
    """The value of `mounts=`: every cache mount, or those with some ids."""

    everything: bool = False
    ids: frozenset[str] = frozenset()

    def __contains__(self, name: object) -> bool:
        return self.everything or name in self.ids

    def __bool__(self) -> bool:
        return self.everything or bool(self.ids)


ALL: Final = MountChoice(everything=True)
NONE: Final = MountChoice()


def choose(words: Collection[str], *, default: MountChoice) -> MountChoice:
    """What `mounts=` says: `all`, `none`, or ids. Without a word it is the default.

    Raises UsageError where `all` or `none` is not alone.
    """
    if not words:
        return default
    names = frozenset(words)
    special = names & {"all", "none"}
    if not special:
        return MountChoice(ids=names)
    if len(names) > 1:
        raise UsageError(f"mounts={';'.join(words)}: {min(special)} stands alone")
    return ALL if special == {"all"} else NONE


def mounts_below(targets: Iterable[Vertex]) -> frozenset[tuple[str, Platform]]:
    """The cache mounts, by id and platform, of every step that the targets come of."""
    found: set[tuple[str, Platform]] = set()
    seen: set[Vertex] = set()
    todo = list(targets)
    while todo:
        vertex = todo.pop()
        if vertex in seen:
            continue
        seen.add(vertex)
        todo += vertex.inputs
        if isinstance(vertex.op, ExecOp):
            mounts = (mount for mount in vertex.op.mounts if isinstance(mount, CacheMount))
            found |= {(mount.id, vertex.op.platform) for mount in mounts}
    return frozenset(found)


def nearest(
    states: Iterable[MountState],
    *,
    name: str,
    platform: Platform,
    others: Collection[str] = (),
) -> MountState | None:
    """The state that a mount called `name` starts from; None where there is none near enough.

    Its own newest one, else that whose id has the most segments (`npm-linux-1f3a` has three) in
    common from the start, the newest of those. No segment in common is not near; nor are ids that
    are paths, and those of the `others`, which are different mounts of the same build.
    """
    candidates = [state for state in states if state.platform == str(platform)]
    own = [state for state in candidates if state.id == name]
    if own:
        return max(own, key=_saved)
    if is_path(name):
        return None
    found = [
        (common_segments(name, state.id), state.saved, state)
        for state in candidates
        if state.id not in others and not is_path(state.id)
    ]
    best = max(found, key=lambda each: each[:2], default=None)
    return best[2] if best is not None and best[0] else None


def merged(earlier: Iterable[MountState], later: Iterable[MountState]) -> tuple[MountState, ...]:
    """One state of every mount and platform, sorted: `later` ones win, of equals the newest."""
    found: dict[tuple[str, str], MountState] = {}
    for state in (*sorted(earlier, key=_saved), *sorted(later, key=_saved)):
        found[state.id, state.platform] = state
    return tuple(found[key] for key in sorted(found))


def is_path(name: str) -> bool:
    """Whether an id is a path: that of a mount to which nobody gave an id."""
    return name.startswith("/") or "//" in name


def common_segments(one: str, other: str) -> int:
    """How many segments two ids share from the start, with the separators between them."""
    pairs = zip(_SEGMENTS.findall(one), _SEGMENTS.findall(other), strict=False)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)
    return sum(1 for segment, _ in same if segment not in _SEPARATORS)


def _saved(state: MountState) -> float:
    return state.saved
