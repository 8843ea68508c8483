"""COPY and ADD: files of a context, of another stage or of the Dockerfile, on top of the layers
below.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from lamina.cache.memos import Memos, known_digest
from lamina.cachekey.key import CacheKey, Listing, Part
from lamina.graph.ops import CopyOp, InlineSource, TreeSource
from lamina.layer.stack import Layer, Stack
from lamina.layer.tree import Tree
from lamina.oci.digest import digest_of
from lamina.ops.copying.select import select
from lamina.ops.copying.selection import Selection
from lamina.ops.notes import tell
from lamina.ops.parent import parent_part
from lamina.ops.stacks import Stacks, identity
from lamina.solver.port import Cached, Result, Running

_MEMO = "selection"


class Copy(Cached):
    """One COPY or ADD. `base` says that the input below it is an image as it was resolved."""

    def __init__(self, op: CopyOp, stacks: Stacks, memos: Memos, *, base: bool) -> None:
        self.op = op
        self.stacks = stacks
        self.memos = memos
        self.base = base
        self._selected: dict[TreeSource, Selection] = {}

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        below = inputs[0]
        assert isinstance(below, tuple)
        parts = [parent_part(below, base=self.base), Part("instruction", self._instruction())]
        listings = []
        for source in self.op.sources:
            if isinstance(source, InlineSource):
                parts.append(Part(f"heredoc:{source.name}", digest_of(source.content)))
                continue
            listing = self._listing(source, inputs[source.input])
            # Two sources may have one path: they are told apart by their input.
            parts.append(Part(listing.part, listing.digest))
            listings.append(listing)
        return CacheKey(tuple(parts), tuple(listings))

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        from lamina.ops.copying.write import write

        below = inputs[0]
        assert isinstance(below, tuple)
        selections = [
            self._select(source, inputs[source.input]) if isinstance(source, TreeSource) else None
            for source in self.op.sources
        ]
        with self.stacks.layers.work() as work:
            lower = self.stacks.view(below)
            written = write(
                self.op,
                selections,
                lower,
                work.diff,
                now_ns=time.time_ns(),
                contents=self.stacks.layers.contents,
            )
            tell(written, running.step)
            layer = self.stacks.layers.publish(work, written.manifest)
        return (*below, Layer(id=layer))

    def _instruction(self) -> str:
        op = self.op
        flags = [
            f"--chown={op.chown}" if op.chown else "",
            f"--chmod={op.chmod}" if op.chmod else "",
        ]
        flags += [f"--exclude={pattern}" for pattern in op.exclude]
        flags += ["--unpack" for s in op.sources if isinstance(s, TreeSource) and s.unpack]
        flags += [f"epoch={op.epoch}"] if op.epoch is not None else []
        return " ".join([*filter(None, flags), op.dest])

    def _listing(self, source: TreeSource, result: Result) -> Listing:
        """What the source takes. From layers, which never change, that is computed once."""
        part = f"files:{source.input}:{source.path}"
        if not isinstance(result, tuple):
            selection = self._select(source, result)
            return Listing(part, selection.digest, selection.files)
        pure = self._question(source, result)
        digest = known_digest(self.memos, _MEMO, pure)
        if digest is None:
            digest = self._select(source, result).digest
            self.memos.add_memo(_MEMO, pure, digest.encode())
        return Listing(part, digest, lambda: self._select(source, result).files(), costly=True)

    def _question(self, source: TreeSource, stack: Stack) -> bytes:
        asked = repr((identity(stack), source, self.op.exclude))
        return hashlib.sha256(asked.encode("utf-8", "surrogateescape")).digest()

    def _select(self, source: TreeSource, result: Result) -> Selection:
        if source not in self._selected:
            tree: Tree = self.stacks.view(result) if isinstance(result, tuple) else result
            self._selected[source] = select(tree, source, self.op.exclude, name=source.path)
        return self._selected[source]
