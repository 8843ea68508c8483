"""Operations that are not run: their keys are the builder's own, their results are foreseen.

What a COPY or a WORKDIR makes follows from what it is given. What a RUN makes is taken from the
record of a real build where one has this very key; otherwise it is taken to be new wherever its key
is new, unless no run of it ever wrote a file. So a step whose inputs came out as before stays
cached here, as it does in a build.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from lamina.cachekey.key import CacheKey
from lamina.context.gittree import GitTree
from lamina.control.forecasting.evidence import Evidence
from lamina.control.forecasting.layers import KnownLayer, Model, UnknownLayer, look
from lamina.control.store import Store
from lamina.errors import HostError
from lamina.graph.ops import CopyOp, InlineSource, MakeDirOp, TreeSource
from lamina.graph.vertex import Vertex
from lamina.layer.entry import Entry, Kind
from lamina.layer.stack import Layer, Stack
from lamina.notation.chmod import parse_mode_change
from lamina.oci.digest import Digest, digest_from, digest_of
from lamina.ops.bind import Binder
from lamina.ops.copy import Copy
from lamina.ops.copying.select import SourceNotFound, select
from lamina.ops.copying.selection import Item, Match, Selection
from lamina.ops.copying.wildcards import split_wildcards
from lamina.ops.makedir import MakeDir
from lamina.ops.run import Run
from lamina.ops.stacks import EMPTY_LAYER, identity
from lamina.solver.port import Cached, Result, Running

_ENCODE = msgspec.msgpack.Encoder().encode


class ForeseenCopy(Copy):
    """COPY and ADD."""

    def __init__(self, op: CopyOp, foresight: Foresight, parent: Copy) -> None:
        super().__init__(op, parent.stacks, parent.memos, base=parent.base)
        self._foresight = foresight

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        below = inputs[0]
        assert isinstance(below, tuple)
        taken = [
            self._select(source, inputs[source.input]) if isinstance(source, TreeSource) else source
            for source in self.op.sources
        ]
        matches = [m for each in taken if isinstance(each, Selection) for m in each.matches]
        if not matches and not any(isinstance(each, InlineSource) for each in taken):
            return (*below, Layer(id=EMPTY_LAYER))
        dest = os.fsencode(self.op.dest)
        foresight = self._foresight
        there = look(below, dest.strip(b"/"), foresight.model).tree.lookup(dest)
        is_directory = there is not None and there.kind is Kind.DIRECTORY
        named = dest.endswith(b"/") or is_directory
        if (
            is_directory
            and all(_is_empty(match) for match in matches)
            and len(matches) == len(taken)
        ):
            return (*below, Layer(id=EMPTY_LAYER))
        top = there.path if there is not None else dest.strip(b"/")
        foreseen = _digest(self.op, taken, named=named)
        layer = foresight.made(self.key(inputs), foreseen, self._model(taken, top, named=named))
        return (*below, layer)

    def _model(
        self, taken: Sequence[Selection | InlineSource], top: bytes, *, named: bool
    ) -> Model:
        unpacked = any(
            isinstance(source, TreeSource) and source.unpack for source in self.op.sources
        )
        unknown = any(_holds_unknown(each) for each in taken)
        if unknown or (unpacked and any(map(_may_be_archive, taken))):
            return UnknownLayer(places=lambda: (top,))
        op = self.op
        return KnownLayer(
            make=lambda: _placed(op, taken, top, named=named),
            top=top,
            find=lambda path: _found(taken, top, path, named=named),
        )

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
        op, path = self.op, os.fsencode(self.op.path).strip(b"/")
        there = look(below, path, self._foresight.model).tree.lookup(path)
        if there is not None and there.kind is Kind.DIRECTORY:
            return (*below, Layer(id=EMPTY_LAYER))
        entry = Entry(path=path, kind=Kind.DIRECTORY, mode=op.mode)
        model = KnownLayer(make=lambda: (*_above(path), entry), top=path)
        foreseen = digest_of(f"forecast: WORKDIR {op.path} {op.mode} {op.owner}".encode())
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
