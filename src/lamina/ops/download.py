"""ADD of a URL: one file from a web server, as a layer of its own.

What the server said of the file is remembered, and it is asked only whether that still holds. A
file that is named by its digest (`--checksum`) is not asked for again at all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from lamina.cache.index import Index
from lamina.graph.ops import HttpOp
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.stack import Layer
from lamina.oci.digest import Digest, encoded
from lamina.snapshot.store import LayerStore
from lamina.solver.port import Direct, Result, Running

_MEMO = "download"


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a URL: the layer it became, and what the server calls this version."""

    layer: Digest
    etag: str
    last_modified: str


class Download(Direct):
    """One ADD of a URL."""

    blocking: ClassVar[bool] = True

    def __init__(
        self, op: HttpOp, layers: LayerStore, index: Index, environ: Mapping[str, str]
    ) -> None:
        self._op = op
        self._layers = layers
        self._index = index
        self._environ = environ

    def solve(self, inputs: Sequence[Result], running: Running) -> Result:
        known = self._remembered()
        if known is None or self._op.checksum is None:
            known = self._ask(known, running)
        return (Layer(id=known.layer),)

    def _remembered(self) -> _Known | None:
        data = self._index.memo(_MEMO, self._question())
        if data is None:
            return None
        known = msgspec.msgpack.decode(data, type=_Known)
        return known if self._layers.has(known.layer) else None

    def _question(self) -> bytes:
        return hashlib.sha256(repr(self._op).encode("utf-8", "surrogateescape")).digest()

    def _ask(self, known: _Known | None, running: Running) -> _Known:
        from lamina.context.web import Unchanged, Validators, download

        before = None
        if known is not None and (known.etag or known.last_modified):
            before = Validators(etag=known.etag, last_modified=known.last_modified)
        with self._layers.work() as work:
            answer = download(
                self._op.url,
                work.diff,
                environ=self._environ,
                filename=self._op.filename,
                known=before,
                checksum=self._op.checksum,
                progress=lambda done, total: running.step.progress(self._op.url, done, total),
            )
            if isinstance(answer, Unchanged):
                assert known is not None
                return known
            running.step.progress(self._op.url, answer.size, answer.size, done=True)
            entry = Entry(
                path=os.fsencode(self._op.filename),
                kind=Kind.FILE,
                mode=0o600,
                size=answer.size,
                mtime_ns=answer.mtime_ns,
                digest=bytes.fromhex(encoded(answer.digest)),
            )
            layer = self._layers.publish(work, Manifest((entry,)))
        found = _Known(
            layer=layer,
            etag=answer.validators.etag,
            last_modified=answer.validators.last_modified,
        )
        self._index.add_memo(_MEMO, self._question(), msgspec.msgpack.encode(found))
        return found
