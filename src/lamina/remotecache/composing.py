"""What a build has to say to an external cache: records, their layers, and what saves looking.

What is there already is said again in the same words: the same times, in the same order. So a
document that says nothing new is equal to the one that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from lamina.cache.index import Record
from lamina.cache.memos import Memo
from lamina.cachekey.disclosure import disclosed
from lamina.layer.stack import Layer
from lamina.notation.masking import without_credentials
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.remotecache.document import (
    CachedLayer,
    CachedMemo,
    CacheDocument,
    CachedStep,
    MountState,
)
from lamina.remotecache.merging import LayerList
from lamina.remotecache.options import CacheOptions, Mode

USED_AGAIN: Final = 24 * 3600.0
"""Seconds. A record that is used again within this time is not written again for that alone."""


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What a build has to say. `records` are in its order; `images` are the ids of the layers that
    the final images have.
    """

    records: tuple[Record, ...]
    memos: tuple[Memo, ...] = ()
    images: frozenset[Digest] = frozenset()


Facts = Callable[[Layer], CachedLayer | None]
"""What a document says of a layer, without its blob; None where nobody knows any more."""


def wanted(built: Built, options: CacheOptions) -> list[Layer]:
    """The layers whose blobs are to be there, each once: those that the mode names, but for those
    that are cheaper to make again (`min-cost`). A base image's come from its own registry.
    """
    layers: dict[Digest, Layer] = {}
    seconds: dict[Digest, float] = {}
    for record in built.records:
        if record.stack:
            seconds.setdefault(record.stack[-1].id, record.seconds)
        layers.update({layer.id: layer for layer in record.stack if not layer.pulled})
    return [
        layer
        for layer in layers.values()
        if (options.mode is Mode.MAX or layer.id in built.images)
        and seconds.get(layer.id, options.min_cost) >= options.min_cost
    ]


def compose(
    built: Built,
    old: CacheDocument,
    *,
    blobs: Mapping[Digest, Descriptor],
    facts: Facts,
    states: Sequence[MountState],
    now: float,
) -> CacheDocument:
    """The document of a build. `blobs` are those of its layers that the cache holds, by id; `old`
    is what the cache says now.
    """
    words = _Words(old)
    layers = LayerList()
    steps = []
    for record in words.in_order(built.records):
        said = [words.layer(layer, blobs, facts) for layer in record.stack]
        if any(each is None for each in said):
            continue  # what it made is forgotten, so there is nothing to say of it
        places = tuple(layers.place(each) for each in said if each is not None)
        steps.append(words.step(record, places, now))
    memos = {(memo.kind, memo.key): memo.value for memo in built.memos}
    return CacheDocument(
        layers=tuple(layers.layers),
        steps=tuple(steps),
        memos=tuple(CachedMemo(kind, key, value) for (kind, key), value in sorted(memos.items())),
        mounts=tuple(states),
    )


class _Words:
    """What a document says, to be said again."""

    def __init__(self, old: CacheDocument) -> None:
        self._layers = {layer.id: layer for layer in old.layers}
        self._steps = {step.key: step for step in old.steps}
        self._ids = {
            step.key: [old.layers[place].id for place in step.layers] for step in old.steps
        }
        self._order = {step.key: number for number, step in enumerate(old.steps)}

    def in_order(self, records: Sequence[Record]) -> list[Record]:
        """Those that are there in their order, then the others in the build's."""
        once = {record.key: record for record in records}.values()
        return sorted(once, key=lambda record: self._order.get(record.key, len(self._order)))

    def layer(
        self, layer: Layer, blobs: Mapping[Digest, Descriptor], facts: Facts
    ) -> CachedLayer | None:
        old, blob = self._layers.get(layer.id), blobs.get(layer.id)
        if old is not None and (old.base or old.blob == blob):
            return old
        new = facts(layer)
        if new is None or new.base:
            return new
        return replace(new, blob=blob)

    def step(self, record: Record, places: tuple[int, ...], now: float) -> CachedStep:
        old = self._steps.get(record.key)
        if old is None or self._ids[record.key] != [layer.id for layer in record.stack]:
            return CachedStep(
                key=record.key,
                locus=record.locus,
                name=without_credentials(record.name),
                parts=tuple(map(disclosed, record.parts)),
                layers=places,
                seconds=round(record.seconds, 3),
                created=round(record.created, 3),
                used=float(int(now)),
            )
        used = old.used if now - old.used < USED_AGAIN else float(int(now))
        return replace(old, layers=places, used=used)
