"""What the solver asks of those who know the operations, the cache and the locks."""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, Protocol

import msgspec

from lamina.cachekey.key import CacheKey
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Stack
from lamina.layer.tree import Tree
from lamina.oci.digest import Digest
from lamina.trace.recorder import Step
from lamina.trace.verdict import Verdict

Result = Stack | Tree
"""What a vertex gives: layers, or a tree that lies on the machine as it is."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances of a run: where to report, and the sign to stop at once."""

    step: Step
    cancelled: threading.Event


class Direct(abc.ABC):
    """An operation that the layer cache has nothing to do with. `blocking`: it waits (for a
    network).
    """

    blocking: ClassVar[bool] = False

    @abc.abstractmethod
    def solve(self, inputs: Sequence[Result], running: Running) -> Result: ...


class Cached(abc.ABC):
    """An operation whose result is remembered under a key.

    Both methods raise LayerLost where they need files of an input that cannot be had any more;
    `run` is called when all of them should be.
    """

    @abc.abstractmethod
    def key(self, inputs: Sequence[Result]) -> CacheKey: ...

    @abc.abstractmethod
    def run(self, inputs: Sequence[Result], running: Running) -> Stack: ...


Provider = Callable[[Vertex], Direct | Cached]
"""Makes the operation of a vertex executable."""


class Memory(Protocol):
    """The layer cache."""

    def find(self, key: CacheKey) -> tuple[Stack, Verdict] | None:
        """What is known under a key. Its layers may be gone: see `available`."""
        ...

    def available(self, stack: Stack) -> bool:
        """Whether a result's layers are here, or can be fetched."""
        ...

    def why(self, key: CacheKey, locus: str) -> Verdict:
        """The reason why a step has to run. It may read files of the step's inputs."""
        ...

    def add(
        self, key: CacheKey, *, locus: str, name: str, stack: Stack, seconds: float
    ) -> bool: ...


class SingleFlight(Protocol):
    """Lets one builder at a time, of all processes, run the step with a key.

    `waiting` is called when another one is at it. With `cancelled` the context may be entered
    without the lock.
    """

    def __call__(
        self, key: Digest, *, waiting: Callable[[], None], cancelled: threading.Event
    ) -> AbstractContextManager[None]: ...
