"""What is known of a vertex while a build runs; touched by the thread that owns the build alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from lamina.cachekey.key import CacheKey
from lamina.graph.vertex import Vertex
from lamina.solver.port import Cached, Direct, Result
from lamina.trace.recorder import Step


class Node(msgspec.Struct, eq=False):
    """A vertex and its state.

    `result` was made by `operation` from `basis`, the results that its inputs had. It is `settled`
    when these are their results still, and, where it is `demanded`, its files can be had; then
    all inputs are settled too. `step` is its step of the trace while that is open, and `numbers`
    are the steps that it is in the trace: those of its inputs where it has none itself. `told`: it
    has had a step; `cached`: as one that was cached.
    """

    vertex: Vertex
    inputs: tuple[Node, ...]
    users: list[Node] = msgspec.field(default_factory=list)
    operation: Direct | Cached | None = None
    basis: tuple[Result, ...] = ()
    key: CacheKey | None = None
    result: Result | None = None
    settled: bool = False
    demanded: bool = False
    running: bool = False
    step: Step | None = None
    numbers: tuple[int, ...] = ()
    told: bool = False
    cached: bool = False

    def given(self) -> tuple[Result, ...]:
        """The results of all inputs, which are settled."""
        return tuple(each.result for each in self.inputs if each.result is not None)

    def begin(self, operation: Direct | Cached, basis: tuple[Result, ...]) -> None:
        """Forget what came of other inputs."""
        self.operation, self.basis = operation, basis
        self.key = self.result = None

    def doubt(self) -> None:
        """Nothing above may begin before this is settled again."""
        todo = [self]
        while todo:
            node = todo.pop()
            if node.settled:
                node.settled = False
                todo += node.users


def nodes_of(targets: Iterable[Vertex], known: dict[Vertex, Node]) -> tuple[Node, ...]:
    """The nodes of the targets. `known` grows by all vertices below them, inputs first."""
    todo = [(vertex, False) for vertex in reversed(tuple(targets))]
    wanted = [vertex for vertex, _ in reversed(todo)]
    while todo:
        vertex, ready = todo.pop()
        if vertex in known:
            continue
        if not ready:
            todo.append((vertex, True))
            todo += [(each, False) for each in reversed(vertex.inputs)]
            continue
        node = Node(vertex=vertex, inputs=tuple(known[each] for each in vertex.inputs))
        for each in dict.fromkeys(node.inputs):
            each.users.append(node)
        known[vertex] = node
    return tuple(known[vertex] for vertex in wanted)


def same(one: Sequence[Result], other: Sequence[Result]) -> bool:
    """Whether results are equal, wherever their layers can be fetched from."""
    return len(one) == len(other) and all(map(_equal, one, other))


def lost_with(node: Node, layers: frozenset[str]) -> Iterator[Node]:
    """The inputs whose results have one of the layers."""
    for each in dict.fromkeys(node.inputs):
        if isinstance(each.result, tuple) and any(one.id in layers for one in each.result):
            yield each


def _equal(one: Result, other: Result) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return [layer.id for layer in one] == [layer.id for layer in other]
    return one is other
