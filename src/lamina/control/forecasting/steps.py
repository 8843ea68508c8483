"""Operations that are not run: their keys are the builder's own, their results are foreseen.

What a COPY or a WORKDIR makes follows from what it is given. What a RUN makes is taken from the
record of a real build where one has this very key; otherwise it is taken to be new wherever its key
is new, unless no run of it ever wrote a file. So a step whose inputs came out as before stays
cached here, as it does in a build.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from lamina.cachekey.key import CacheKey
from lamina.control.forecasting.foresight import Foresight
from lamina.control.forecasting.layers import KnownLayer, UnknownLayer, resolve
from lamina.control.forecasting.placing import Placing, folders_above
from lamina.graph.ops import CopyOp, CopySource, InlineSource, MakeDirOp, TreeSource
from lamina.graph.vertex import Vertex
from lamina.layer.entry import Entry, Kind
from lamina.layer.stack import Layer, Stack
from lamina.oci.digest import digest_of
from lamina.ops.bind import Binder
from lamina.ops.copy import Copy
from lamina.ops.copying.selection import Selection
from lamina.ops.makedir import MakeDir
from lamina.ops.run import Run
from lamina.ops.stacks import EMPTY_LAYER
from lamina.solver.port import Cached, Result, Running


class ForeseenCopy(Copy):
    """COPY and ADD."""

    def __init__(self, op: CopyOp, foresight: Foresight, parent: Copy) -> None:
        super().__init__(op, parent.stacks, parent.memos, base=parent.base)
        self._foresight = foresight

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        below = inputs[0]
        assert isinstance(below, tuple)
        dest = os.fsencode(self.op.dest)
        top, there = resolve(below, dest, self._foresight.model)
        is_directory = there is not None and there.kind is Kind.DIRECTORY
        placing = Placing(
            op=self.op,
            taken=tuple(self._taken(source, inputs) for source in self.op.sources),
            top=top,
            named=dest.endswith(b"/") or is_directory,
        )
        if placing.is_nothing() or (is_directory and placing.is_empty()):
            return (*below, Layer(id=EMPTY_LAYER))
        key = self.key(inputs)
        return (*below, self._foresight.made(key, placing.digest(), placing.model()))

    def _taken(self, source: CopySource, inputs: Sequence[Result]) -> Selection | InlineSource:
        if isinstance(source, InlineSource):
            return source
        return self._select(source, inputs[source.input])

    def _select(self, source: TreeSource, result: Result) -> Selection:
        return self._foresight.select(source, self.op.exclude, result)


class ForeseenMakeDir(MakeDir):
    """WORKDIR."""

    def __init__(self, op: MakeDirOp, foresight: Foresight, parent: MakeDir) -> None:
        super().__init__(op, parent.stacks, base=parent.base)
        self._foresight = foresight

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        below = inputs[0]
        assert isinstance(below, tuple)
        path, there = resolve(below, os.fsencode(self.op.path), self._foresight.model)
        if there is not None and there.kind is Kind.DIRECTORY:
            return (*below, Layer(id=EMPTY_LAYER))
        entry = Entry(path=path, kind=Kind.DIRECTORY, mode=self.op.mode)
        model = KnownLayer(make=lambda: (*folders_above(path), entry), top=path)
        foreseen = digest_of(b"forecast: WORKDIR " + repr((entry, self.op.owner)).encode())
        return (*below, self._foresight.made(self.key(inputs), foreseen, model))


class ForeseenBinder(Binder, frozen=True):
    """Bind mounts, as far as they are part of a key."""

    foresight: Foresight

    def _subtree(self, path: str, source: Stack) -> str:
        return self.foresight.select(TreeSource(input=0, path=path), (), source).digest


class ForeseenRun(Cached):
    """RUN."""

    def __init__(self, operation: Run, vertex: Vertex, foresight: Foresight) -> None:
        self._operation = operation
        self._vertex = vertex
        self._foresight = foresight

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        return self._operation.key(inputs)

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        below = inputs[0]
        assert isinstance(below, tuple)
        key, evidence, vertex = self.key(inputs), self._foresight.evidence, self._vertex
        real = evidence.result(key.digest)
        if real is not None:
            return (*below, real)
        if evidence.writes_nothing(vertex):
            return (*below, Layer(id=EMPTY_LAYER))
        foreseen = digest_of(f"forecast: what comes of {key.digest}".encode())
        model = UnknownLayer(places=lambda: evidence.places(vertex), covering=True)
        return (*below, self._foresight.made(key, foreseen, model))


class Watched(Cached):
    """Tells `ran` of a step that was not cached."""

    def __init__(
        self, operation: Cached, looked: Callable[[], None], ran: Callable[[], None]
    ) -> None:
        self._operation = operation
        self._looked = looked
        self._ran = ran

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        found = self._operation.key(inputs)
        self._looked()
        return found

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        self._ran()
        return self._operation.run(inputs, running)
