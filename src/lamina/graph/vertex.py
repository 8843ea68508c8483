"""A vertex: an operation and the vertices whose results it works on."""

from __future__ import annotations

import hashlib

import msgspec

from lamina.graph.ops import Op
from lamina.source import Span


class Vertex(msgspec.Struct, frozen=True, eq=False):
    """Two vertices are equal when operation and inputs are: then they are done once.

    `name` is what the user sees, `span` where it stands in the Dockerfile. `locus` says which step
    of which Dockerfile this is (`Dockerfile:stage-0:3`), whatever it contains now: it finds the
    step's earlier records. `forced` is the flag that demands to run it again, or "".
    """

    op: Op
    inputs: tuple[Vertex, ...] = ()
    name: str = ""
    span: Span | None = None
    locus: str = ""
    forced: str = ""
    identity: bytes = b""
    """Equal for vertices that do the same; computed, not given."""

    def __post_init__(self) -> None:
        # At once and not when it is asked for: a long chain would be a deep recursion then.
        hasher = hashlib.sha256()
        # The text form names every class and field, and knows paths that are not UTF-8.
        hasher.update(repr((self.op, self.forced)).encode("utf-8", "surrogateescape"))
        for vertex in self.inputs:
            hasher.update(vertex.identity)
        msgspec.structs.force_setattr(self, "identity", hasher.digest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vertex) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)
