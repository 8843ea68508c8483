"""Several documents as one: what ten writers said, without saying anything twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from lamina.oci.digest import Digest
from lamina.remotecache.document import (
    CachedLayer,
    CachedMemo,
    CacheDocument,
    CachedStep,
    MountState,
)


class LayerList(msgspec.Struct):
    """The layers of a document that is being made: each once, told by their places."""

    layers: list[CachedLayer] = msgspec.field(default_factory=list)
    _places: dict[tuple[Digest, bool], int] = msgspec.field(default_factory=dict)

    def place(self, layer: CachedLayer) -> int:
        """Where the layer is. One that is there without a blob gets that of its equal."""
        key = layer.id, bool(layer.base)
        place = self._places.setdefault(key, len(self.layers))
        if place == len(self.layers):
            self.layers.append(layer)
        elif self.layers[place].blob is None and layer.blob is not None:
            self.layers[place] = layer
        return place


def merge(documents: Sequence[CacheDocument]) -> CacheDocument:
    """One document that says what all of them say.

    Of two steps with one key the newer counts, of two that are equally new the one in the earlier
    document; it was last used when the later of the two was. Of two states of a cache mount the
    one that was saved later counts.
    """
    layers = LayerList()
    steps: dict[Digest, CachedStep] = {}
    memos: dict[tuple[str, bytes], CachedMemo] = {}
    mounts: dict[tuple[str, str], MountState] = {}
    for document in documents:
        places = [layers.place(layer) for layer in document.layers]
        for step in document.steps:
            moved = replace(step, layers=tuple(places[place] for place in step.layers))
            steps[step.key] = _newer(steps.get(step.key), moved)
        for memo in document.memos:
            memos.setdefault((memo.kind, memo.key), memo)
        for state in document.mounts:
            before = mounts.get((state.id, state.platform))
            if before is None or state.saved > before.saved:
                mounts[state.id, state.platform] = state
    return pruned(
        CacheDocument(
            layers=tuple(layers.layers),
            steps=tuple(steps.values()),
            memos=tuple(memos.values()),
            mounts=tuple(mounts.values()),
        )
    )


def pruned(document: CacheDocument) -> CacheDocument:
    """Without the layers that no step has any more."""
    used = sorted({place for step in document.steps for place in step.layers})
    if len(used) == len(document.layers):
        return document
    places = {old: new for new, old in enumerate(used)}
    return replace(
        document,
        layers=tuple(document.layers[place] for place in used),
        steps=tuple(
            replace(step, layers=tuple(places[place] for place in step.layers))
            for step in document.steps
        ),
    )


def says_all(document: CacheDocument, others: Iterable[CacheDocument]) -> bool:
    """Whether the others say nothing that `document` does not say: no key, no later use of one, no
    blob, no state.
    """
    used = {step.key: step.used for step in document.steps}
    blobs = {layer.id for layer in document.layers if layer.blob is not None}
    memos = {(memo.kind, memo.key) for memo in document.memos}
    states = {(each.id, each.platform, each.manifest.digest) for each in document.mounts}
    return all(
        all(step.used <= used.get(step.key, -1.0) for step in other.steps)
        and blobs.issuperset(layer.id for layer in other.layers if layer.blob is not None)
        and memos.issuperset((memo.kind, memo.key) for memo in other.memos)
        and states.issuperset(
            (each.id, each.platform, each.manifest.digest) for each in other.mounts
        )
        for other in others
    )


def _newer(before: CachedStep | None, now: CachedStep) -> CachedStep:
    if before is None:
        return now
    used = max(before.used, now.used)
    chosen = now if now.created > before.created else before
    return chosen if chosen.used == used else replace(chosen, used=used)
