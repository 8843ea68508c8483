"""What real builds recorded of the steps that a forecast does not run: their times, their results,
and the places that they write to.

The same step is one with the same text, or else with the same command, whatever its mounts are.
What another project's step made says nothing about ours, but the same command takes about as long.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence

import msgspec

from lamina.cachekey.key import Part
from lamina.control.forecasting.layers import places_of
from lamina.control.store import Store
from lamina.errors import HostError
from lamina.graph.ops import ExecOp
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Layer, Stack
from lamina.oci.digest import Digest
from lamina.ops.stacks import EMPTY_LAYER

_MOST = 20_000  # records
_LOOKED_AT = 5  # results of one step

_PARTS = msgspec.msgpack.Decoder(tuple[Part, ...])
_STACK = msgspec.msgpack.Decoder(Stack)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a step: its result's highest layer, and the seconds that it took."""

    own: bool
    layer: Layer
    seconds: float


class Evidence:
    """The latest records of a store. `place` is the context's real path: its builds are our own."""

    def __init__(self, store: Store, place: str) -> None:
        self._store = store
        self._seen: dict[str, list[Seen]] = {}
        rows = store.index.rows(
            "SELECT locus, name, parts, stack, seconds FROM records "
            "ORDER BY last_used DESC LIMIT ?",
            (_MOST,),
        )
        for locus, name, parts, stack, seconds in rows:
            layers = _STACK.decode(stack)
            if not name or not layers:
                continue
            seen = Seen(
                own=locus.startswith(f"{place}:"),
                layer=layers[-1],
                seconds=seconds,
            )
            for what in {text_of(name), _command(name, _PARTS.decode(parts))}:
                self._seen.setdefault(what, []).append(seen)

    def result(self, key: Digest) -> Layer | None:
        """The highest layer of what a real build made under exactly this key."""
        record = self._store.index.record(key)
        return record.stack[-1] if record is not None and record.stack else None

    def writes_nothing(self, vertex: Vertex) -> bool:
        """Whether none of the step's runs has changed a file, as of a linter or a test.

        That several runs made the same files shows less: maybe what they depend on did not change.
        """
        own = self._own(vertex)
        return bool(own) and all(seen.layer.id == EMPTY_LAYER for seen in own)

    def places(self, vertex: Vertex) -> tuple[bytes, ...] | None:
        """The paths that the step wrote to in earlier builds; None where none is at hand."""
        found: set[bytes] = set()
        looked = 0
        for layer in dict.fromkeys(seen.layer.id for seen in self._own(vertex)):
            try:
                if looked < _LOOKED_AT and self._store.layers.has(layer):
                    found.update(places_of(self._store.layers.manifest(layer).entries))
                    looked += 1
            except HostError:
                continue
        return tuple(found) if looked else None

    def seconds(self, vertex: Vertex) -> float | None:
        """The time that the step takes: the median of its runs."""
        seen = self._own(vertex)
        if not seen and isinstance(vertex.op, ExecOp):
            seen = self._of(vertex)
        return statistics.median(each.seconds for each in seen) if seen else None

    def _own(self, vertex: Vertex) -> Sequence[Seen]:
        return [seen for seen in self._of(vertex) if seen.own]

    def _of(self, vertex: Vertex) -> Sequence[Seen]:
        return self._seen.get(text_of(vertex.name)) or self._seen.get(_question(vertex)) or ()


def text_of(name: str) -> str:
    """A step's text without its place: `[build 2/5] RUN make` is RUN make."""
    return name.partition("] ")[2] if name.startswith("[") else name


def _question(vertex: Vertex) -> str:
    if isinstance(vertex.op, ExecOp):
        return json.dumps(vertex.op.args, ensure_ascii=False)
    return text_of(vertex.name)


def _command(name: str, parts: Iterable[Part]) -> str:
    """What `_question` asks of a step, as its record answers it."""
    text = text_of(name)
    if text.startswith(("RUN ", "ONBUILD RUN ")):
        return next((part.value for part in parts if part.name == "instruction"), text)
    return text
