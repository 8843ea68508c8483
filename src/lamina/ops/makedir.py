"""WORKDIR: a directory, and its parents, where they are missing."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lamina.cachekey.key import CacheKey, Part
from lamina.graph.ops import MakeDirOp
from lamina.layer.stack import Layer, Stack
from lamina.ops.notes import tell
from lamina.ops.parent import parent_part
from lamina.ops.stacks import Stacks
from lamina.solver.port import Cached, Result, Running


class MakeDir(Cached):
    """One WORKDIR. `base` says that the input below it is an image as it was resolved."""

    def __init__(self, op: MakeDirOp, stacks: Stacks, *, base: bool) -> None:
        self.op = op
        self.stacks = stacks
        self.base = base

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        below = inputs[0]
        assert isinstance(below, tuple)
        op = self.op
        facts = f"{op.path} {op.mode:o} {op.owner or ''} {'' if op.epoch is None else op.epoch}"
        return CacheKey((parent_part(below, base=self.base), Part("instruction", facts)))

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        from lamina.ops.copying.makedir import make_directory

        below = inputs[0]
        assert isinstance(below, tuple)
        with self.stacks.layers.work() as work:
            lower = self.stacks.view(below)
            written = make_directory(self.op, lower, work.diff, now_ns=time.time_ns())
            tell(written, running.step)
            layer = self.stacks.layers.publish(work, written.manifest)
        return (*below, Layer(id=layer))
