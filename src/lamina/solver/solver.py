"""Solves vertices: inputs first, equal ones once, independent ones at the same time.

One thread (the caller's) owns the state of the build: it computes keys and looks them up, which is
all that a cached build does. What has to run goes to a pool; its result comes back through a queue.

    all inputs settled ──▶ key ──▶ look up ──known──────────────────▶ settled ──▶ who waits for it
           ▲                │         └──not known──▶ files of the       ▲        goes on
           │                │                         inputs ──▶ run ────┘
           └── an input has another result now

A known result need not exist: for the keys above it, what its layers *are* is enough. Its files are
demanded where a step has to run on them, where a key cannot be computed without them, and by
outputs. A result that is demanded and cannot be had (a layer was removed here, or an external cache
names it without having it) is made again: the missing layers that an input has too by demanding
that input, its own by running the step. So nothing above the last result that is asked for is ever
fetched or run, and what is missing is made from the nearest point where all is there.

What is made again may come out otherwise. Every result is a function of the final results of its
inputs: whatever was solved with the earlier result is solved anew, and is mostly found under its
new key. Keeping it would be right for each step and wrong for the image, which could hold parts of
two runs of one compilation. While a result is in doubt, nothing above it begins, so no step runs
on what turns out to be outdated; one that is running already is run again if need be. This comes
to an end: a vertex without inputs has one result, and any other is solved anew only when an input
came out otherwise, or when a layer was lost that was there before.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from lamina.cachekey.key import CacheKey
from lamina.errors import LaminaError, UserError
from lamina.graph.vertex import Vertex
from lamina.layer.stack import LayerLost, Stack
from lamina.oci.digest import Digest
from lamina.solver.node import Node, lost_with, nodes_of, same
from lamina.solver.port import Cached, Direct, Memory, Provider, Result, Running, SingleFlight
from lamina.trace.recorder import Recorder, Step
from lamina.trace.verdict import Forced, Verdict

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

CANCELED = "canceled"


class Canceled(UserError):
    """A step that had not begun when another one failed, or when the user gave up."""


class _Done(msgspec.Struct, frozen=True):
    """What a thread of the pool came back with: exactly one of the two is set."""

    node: Node
    result: Result | None = None
    error: BaseException | None = None


class Solver:
    """Solves the vertices of one build."""

    def __init__(
        self,
        *,
        provider: Provider,
        memory: Memory,
        single_flight: SingleFlight,
        recorder: Recorder,
        jobs: int,
    ) -> None:
        self._provider = provider
        self._memory = memory
        self._single_flight = single_flight
        self._recorder = recorder
        self._jobs = jobs
        self._nodes: dict[Vertex, Node] = {}
        self._ready: deque[Node] = deque()
        self._running = 0
        self._done: queue.SimpleQueue[_Done] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def solve(self, targets: Sequence[Vertex], *, demanded: Sequence[Vertex] = ()) -> list[Result]:
        """The results of `targets`, in their order. The layers of those that are `demanded` too can
        be had.

        Raises the first error; everything that still ran has ended by then. It may be called again,
        when a layer that could be had was lost: what is known stays known.
        """
        wanted = nodes_of(targets, self._nodes)
        self._cancelled = threading.Event()
        self._ready.extend(node for node in self._nodes.values() if not node.settled)
        try:
            for vertex in demanded:
                self._demand(self._nodes[vertex])
            while self._ready or self._running:
                if self._ready:
                    self._advance(self._ready.popleft())
                else:
                    self._finish(self._done.get())
        finally:
            # Without an error nothing runs any more, and this does nothing.
            self._cancelled.set()
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None
            for node in self._nodes.values():
                if node.step is not None:
                    node.step.finish(error=CANCELED, canceled=True)
        return [node.result for node in wanted if node.result is not None]

    def keys(self) -> tuple[Digest, ...]:
        """The keys of all steps that were solved, inputs first."""
        return tuple(node.key.digest for node in self._nodes.values() if node.key is not None)

    def _advance(self, node: Node) -> None:
        """Bring a vertex as far as it goes now: until it is settled, runs, or waits for an input.

        It is called whenever one of these has changed, and does nothing where there is no need.
        """
        if node.settled or node.running or not all(each.settled for each in node.inputs):
            return
        with self._telling(node):
            given = node.given()
            if node.operation is None or not same(node.basis, given):
                node.begin(self._provider(node.vertex), given)
            if node.result is None and not self._resolve(node):
                return
            lost = self._lost(node.result) if node.demanded else frozenset()
            if not lost:
                self._settle(node)
            elif not self._demand_inputs(node, lost_with(node, lost)):
                self._make_again(node)

    def _resolve(self, node: Node) -> bool:
        """Find the result of a vertex. False where it has to be waited for."""
        if not node.told:
            self._open(node)
        if isinstance(node.operation, Cached):
            return self._look_up(node, node.operation)
        assert node.operation is not None
        step = node.step or self._recorder.step("")  # solved anew, it says nothing more
        solve = partial(self._solve, node.operation, node.basis, step)
        if node.operation.blocking:
            self._submit(node, step, solve)
            return False
        node.result = solve()
        node.step = None
        return True

    def _look_up(self, node: Node, operation: Cached) -> bool:
        try:
            node.key = operation.key(node.basis)
        except LayerLost:
            if self._demand_inputs(node, node.inputs):
                return False
            raise
        found = None if node.vertex.forced else self._find(node.key, node.basis)
        if found is None:
            self._run(node, operation, node.key)
            return False
        node.result, verdict = found
        if not node.cached and node.step is not None:
            self._hit(node.step, node.key, verdict)
            node.cached = True
        node.step = None
        return True

    def _find(self, key: CacheKey, inputs: Sequence[Result]) -> tuple[Stack, Verdict] | None:
        """What is known under a key. Layers of a base image are those of the inputs: a record may
        be from a machine on which the same layers came as other blobs, or from another place.
        """
        found = self._memory.find(key)
        if found is None:
            return None
        stacks = (each for each in inputs if isinstance(each, tuple))
        bases = {layer.id: layer for stack in stacks for layer in stack if layer.pulled}
        return (
            (tuple(bases.get(layer.id, layer) for layer in found[0]), found[1]) if bases else found
        )

    def _make_again(self, node: Node) -> None:
        """Make a result of which a layer is missing, and other inputs have none of these."""
        if not isinstance(node.operation, Cached) or node.key is None:
            raise LayerLost(f"a layer of {node.vertex.name or 'an input'} is gone from the store")
        found = None if node.vertex.forced else self._find(node.key, node.basis)
        if found is not None and not self._lost(found[0]):
            node.result = found[0]  # another external cache has it
            self._settle(node)
        else:
            self._run(node, node.operation, node.key)

    def _run(self, node: Node, operation: Cached, key: CacheKey) -> None:
        """Run a step, as soon as the files of all its inputs can be had."""
        step = node.step or self._open(node)
        if self._demand_inputs(node, node.inputs):
            return
        if node.cached and node.vertex.name:
            self._recorder.uncount()
            node.cached = False
        run = partial(self._make, node.vertex, operation, node.basis, step, key)
        self._submit(node, step, run)

    def _demand_inputs(self, node: Node, inputs: Iterable[Node]) -> bool:
        """Demand the files of some inputs. True where one of them has to be made again first."""
        lacking = [each for each in inputs if self._lost(each.result)]
        for each in lacking:
            if node.step is not None:
                node.step.note(f"needs the files of {each.vertex.name or 'an input'}")
            self._demand(each)
        return bool(lacking)

    def _demand(self, node: Node) -> None:
        node.demanded = True
        if node.settled and self._lost(node.result):
            node.doubt()
        self._ready.append(node)

    def _lost(self, result: Result | None) -> frozenset[str]:
        """The layers of a result that cannot be had."""
        if not isinstance(result, tuple) or self._memory.available(result):
            return frozenset()
        return frozenset(each.id for each in result if not self._memory.available((each,)))

    def _settle(self, node: Node) -> None:
        node.settled = True
        self._ready.extend(node.users)

    def _hit(self, step: Step, key: CacheKey, verdict: Verdict) -> None:
        step.decided(verdict, key=key.digest, parts=key.parts)
        step.finish(cached=True)
        self._recorder.count(step, cached=True)

    def _solve(self, operation: Direct, inputs: Sequence[Result], step: Step) -> Result:
        result = operation.solve(inputs, Running(step=step, cancelled=self._cancelled))
        step.finish()
        return result

    def _make(
        self,
        vertex: Vertex,
        operation: Cached,
        inputs: Sequence[Result],
        step: Step,
        key: CacheKey,
    ) -> Result:
        """Run a step that missed, unless another process has just done so."""
        asked, waited = time.monotonic(), False

        def waiting() -> None:
            nonlocal waited
            waited = True
            step.note("another build runs this step: waiting for it")

        with self._single_flight(key.digest, waiting=waiting, cancelled=self._cancelled):
            if waited:
                step.waited("another build of this step", time.monotonic() - asked)
            if self._cancelled.is_set():
                raise Canceled(CANCELED)
            # It may have been run between the miss and the lock, also where nobody had to wait.
            found = None if vertex.forced else self._find(key, inputs)
            if found is not None and self._memory.available(found[0]):
                stack, verdict = found
                self._hit(step, key, verdict)
                return stack
            why = Forced(flag=vertex.forced) if vertex.forced else None
            step.decided(
                why or self._memory.why(key, vertex.locus), key=key.digest, parts=key.parts
            )
            started = time.monotonic()
            stack = operation.run(inputs, Running(step=step, cancelled=self._cancelled))
            seconds = time.monotonic() - started
            same = self._memory.add(
                key, locus=vertex.locus, name=vertex.name, stack=stack, seconds=seconds
            )
        step.finish(same=same)
        self._recorder.count(step, cached=False)
        return stack

    def _submit(self, node: Node, step: Step, work: Callable[[], Result]) -> None:
        def job() -> None:
            try:
                done = _Done(node, work())
            except BaseException as error:
                canceled = self._cancelled.is_set()
                if canceled or not isinstance(error, LayerLost):
                    _end(step, error, canceled=canceled)
                done = _Done(node, error=error)
            self._done.put(done)

        node.running = True
        self._running += 1
        self._threads().submit(job)

    def _threads(self) -> ThreadPoolExecutor:
        """The pool, made when the first step misses: a cached build needs none."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="step")
        return self._pool

    def _finish(self, done: _Done) -> None:
        """Take back what a thread came back with."""
        node, error = done.node, done.error
        node.running = False
        self._running -= 1
        if error is None:
            node.result, node.step = done.result, None
        elif not isinstance(error, LayerLost) or not any(map(self._lost, node.basis)):
            if node.step is not None:
                _end(node.step, error)
            _place(error, node.vertex)
            raise error
        self._ready.append(node)  # a layer that could be had is lost: it is demanded anew

    @contextmanager
    def _telling(self, node: Node) -> Iterator[None]:
        """What goes wrong is told as the end of the vertex' step, and has its place."""
        try:
            yield
        except BaseException as error:
            if node.step is not None:
                _end(node.step, error, canceled=isinstance(error, KeyboardInterrupt))
            _place(error, node.vertex)
            raise

    def _open(self, node: Node) -> Step:
        vertex, span = node.vertex, node.vertex.span
        step = self._recorder.step(
            vertex.name,
            file=span.file.name if span else "",
            line=span.line if span else 0,
            inputs=tuple(each.numbers for each in node.inputs),
        )
        flat = dict.fromkeys(number for each in node.inputs for number in each.numbers)
        node.numbers = (step.number,) if step.number else tuple(flat)
        node.step, node.told = step, True
        return step


def _end(step: Step, error: BaseException, *, canceled: bool = False) -> None:
    told = CANCELED if canceled else str(error) or type(error).__name__
    step.finish(error=told, canceled=canceled)


def _place(error: BaseException, vertex: Vertex) -> None:
    """Give the error the place of its instruction."""
    if isinstance(error, LaminaError):
        error.place(vertex.span)
