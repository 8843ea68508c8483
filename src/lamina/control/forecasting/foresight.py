"""What a forecast knows besides the steps themselves: layers, selections, what builds recorded."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from lamina.cachekey.key import CacheKey
from lamina.context.gittree import GitTree
from lamina.control.forecasting.evidence import Evidence
from lamina.control.forecasting.layers import KnownLayer, Model, UnknownLayer, look
from lamina.control.forecasting.placing import unknown_files
from lamina.control.store import Store
from lamina.errors import HostError
from lamina.graph.ops import TreeSource
from lamina.layer.stack import Layer, Stack
from lamina.oci.digest import Digest
from lamina.ops.copying.select import SourceNotFound, select
from lamina.ops.copying.selection import Selection
from lamina.ops.copying.wildcards import split_wildcards
from lamina.ops.stacks import EMPTY_LAYER, identity
from lamina.solver.port import Result

_SELECTIONS = 64
_ENTRIES = 1_000_000  # in memory: some 60 bytes each


class Foresight:
    """Shared by all commits of a forecast."""

    def __init__(self, store: Store, evidence: Evidence) -> None:
        self.evidence = evidence
        self._store = store
        self._models: dict[Digest, Model] = {}
        self._real: dict[Digest, Layer] = {}
        self._selections: dict[object, Selection] = {}
        self._heavy: deque[tuple[Digest, KnownLayer]] = deque()
        self._weight = 0

    def model(self, layer: Digest) -> Model:
        """What is known of a layer: foreseen here, or lying in the store."""
        known = self._models.get(layer)
        if known is None:
            known = self._models[layer] = self._stored(layer)
        return known

    def made(self, key: CacheKey, foreseen: Digest, model: Model) -> Layer:
        """The layer of a step that was not run, by its real id where a build has made it.

        A result that was foreseen twice is the same layer both times.
        """
        layer = self._real.get(foreseen)
        if layer is None:
            layer = self.evidence.result(key.digest) or Layer(id=foreseen)
            self._real[foreseen] = layer
            if layer.id not in self._models:
                self._keep(layer.id, model)
        return layer

    def select(self, source: TreeSource, exclude: Sequence[str], result: Result) -> Selection:
        """What a source takes. Raises SourceNotFound where it is certain that nothing is there."""
        if isinstance(result, tuple):
            return self._from_layers(source, exclude, result)
        if not isinstance(result, GitTree):
            return select(result, source, exclude, name=source.path)
        question = _question(source, exclude, result)
        return self._selected(question, lambda: select(result, source, exclude, name=source.path))

    def _from_layers(self, source: TreeSource, exclude: Sequence[str], stack: Stack) -> Selection:
        question = (identity(stack), source, tuple(exclude))
        return self._selected(question, lambda: self._seen_in(source, exclude, stack))

    def _selected(self, question: object, choose: Callable[[], Selection]) -> Selection:
        """The latest answers are kept: commits that follow each other ask the same."""
        found = self._selections.pop(question, None) or choose()
        self._selections[question] = found
        if len(self._selections) > _SELECTIONS:
            del self._selections[next(iter(self._selections))]
        return found

    def _seen_in(self, source: TreeSource, exclude: Sequence[str], stack: Stack) -> Selection:
        base, _ = split_wildcards(source.path) if source.wildcards else (source.path.strip("/"), [])
        path = os.fsencode(base)
        sight = look(stack, path, self.model)
        try:
            matches = select(sight.tree, source, exclude, name=source.path).matches
        except SourceNotFound:
            if not sight.unknown:
                raise
            matches = ()
        if sight.unknown:
            matches = (*matches, unknown_files(path, sight.unknown))
        return Selection(source, sight.tree, matches)

    def _keep(self, layer: Digest, model: Model) -> None:
        """Of layers that were long ago only the place is kept: hardly anybody asks for more."""
        self._models[layer] = model
        if isinstance(model, KnownLayer):
            self._heavy.append((layer, model))
            self._weight += model.weight
        while self._weight > _ENTRIES:
            old, known = self._heavy.popleft()
            self._weight -= known.weight
            self._models[old] = UnknownLayer(places=partial(tuple, [known.top]))

    def _stored(self, layer: Digest) -> Model:
        if layer == EMPTY_LAYER:
            return KnownLayer(make=tuple)
        try:
            if self._store.layers.has(layer):
                entries = self._store.layers.manifest(layer).entries
                return KnownLayer(make=lambda: entries)
        except HostError:
            pass
        return UnknownLayer(places=lambda: None)


def _question(source: TreeSource, exclude: Sequence[str], tree: GitTree) -> object:
    """What decides a selection: of a path without wildcards what is there, else the whole tree."""
    path = b""
    if not source.include:
        base, patterns = split_wildcards(source.path)
        entry = tree.lookup(os.fsencode(base)) if not patterns else None
        path = entry.path if entry is not None else b""
    return source, tuple(exclude), tree.ignore_name, path, tree.identity(path)
