"""`lamina cache prune`: clear the store away, by the user's limits or those of the settings."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from lamina.cache.eviction import Going, Limits
from lamina.control.keeping.clearing import Cleared, clear
from lamina.control.keeping.measuring import walk
from lamina.control.keeping.space import drop_ballast
from lamina.control.keeping.tidying import Tidied, tidy
from lamina.control.privileges import become_root
from lamina.control.store import open_store

_BY = "lamina cache prune"


class PruneRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`everything`: `--all`. Limits that are None are those of the settings."""

    limits: Limits = Limits()
    everything: bool = False
    dry_run: bool = False


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or with `dry_run` would be. `total` are the bytes before it, `lacking` those
    that are still too much; `limits` are those that were kept. `untagged` are names of images that
    are not whole any more. `now` in seconds since 1970.
    """

    dry_run: bool
    now: float
    total: int
    limits: Limits
    going: tuple[Going, ...]
    lacking: int
    untagged: tuple[str, ...]
    tidied: Tidied

    @property
    def freed(self) -> int:
        """In bytes."""
        return sum(each.item.size for each in self.going) + self.tidied.freed


def prune(request: PruneRequest, *, root: str, environ: Mapping[str, str]) -> Pruned:
    """Raises HostError, and UsageError for wrong settings."""
    become_root()
    drop_ballast(root)
    store = open_store(root, environ)
    space = store.space
    limits = _limits(request, space.settings.cache)
    if not request.dry_run:
        space.holdings.replace(walk(store.root))
    everything = request.everything and limits == Limits()

    def cleared_once() -> Cleared:
        return clear(
            space,
            limits,
            by=_BY,
            everything=everything,
            images_too=request.everything,
            dry_run=request.dry_run,
        )

    cleared = cleared_once()
    going = cleared.going
    if cleared.untagged and not request.dry_run:
        going += cleared_once().going  # the documents of these images
    tidied = tidy(space, limits, now=time.time(), everything=everything, dry_run=request.dry_run)
    return Pruned(
        dry_run=request.dry_run,
        now=time.time(),
        total=cleared.total,
        limits=limits,
        going=going,
        lacking=cleared.lacking,
        untagged=cleared.untagged,
        tidied=tidied,
    )


def _limits(request: PruneRequest, settings: Limits) -> Limits:
    """What was asked for; where nothing was, what the settings say."""
    if request.limits != Limits() or request.everything:
        return request.limits
    return settings
