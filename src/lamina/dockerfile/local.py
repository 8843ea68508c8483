"""A directory of the machine as layers, for those who cannot work on it in place."""

from __future__ import annotations

from lamina.graph.ops import CopyOp, ScratchOp, TreeSource
from lamina.graph.vertex import Vertex
from lamina.source import Span


def as_layers(
    local: Vertex, *, path: str = "/", dest: str = "/", span: Span | None = None
) -> Vertex:
    """What `path` is in the directory, as `dest` of a tree of its own. `span`: who asks for it."""
    return Vertex(
        op=CopyOp(sources=(TreeSource(input=1, path=path),), dest=dest),
        inputs=(Vertex(op=ScratchOp()), local),
        span=span,
        locus=f"files:{local.identity.hex()}:{path}",
    )
