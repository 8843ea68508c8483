"""Solves vertices: inputs first, equal ones once, independent ones at the same time.

One thread (the caller's) owns the state of the build: it computes keys and looks them up, which is
all that a cached build does. What misses goes to a pool; its result comes back through a queue.

        ready ──key──▶ look up ──hit──▶ solved ──▶ whoever waited for it becomes ready
                          │                ▲
                          └─miss─▶ pool: lock the key, look again, run, remember
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from lamina.cachekey.key import CacheKey
from lamina.errors import LaminaError, UserError
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Stack
from lamina.solver.port import (
    Cached,
    Direct,
    Memory,
    Provider,
    Result,
    Running,
    SingleFlight,
)
from lamina.trace.recorder import Recorder, Step
from lamina.trace.verdict import Forced, Verdict

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

CANCELED = "canceled"


class Canceled(UserError):
    """A step that had not begun when another one failed, or when the user gave up."""


class _State(msgspec.Struct):
    """What is known while a build runs; touched by the owner's thread alone."""

    results: dict[Vertex, Result] = msgspec.field(default_factory=dict)
    missing: dict[Vertex, int] = msgspec.field(default_factory=dict)
    dependents: dict[Vertex, list[Vertex]] = msgspec.field(default_factory=dict)
    ready: deque[Vertex] = msgspec.field(default_factory=deque)
    running: dict[Vertex, Step] = msgspec.field(default_factory=dict)


class _Done(msgspec.Struct, frozen=True):
    """What a thread of the pool came back with: exactly one of the two is set."""

    vertex: Vertex
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
        self._done: queue.SimpleQueue[_Done] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def solve(self, targets: Sequence[Vertex]) -> list[Result]:
        """The results of `targets`, in their order.

        Raises the first error; everything that still ran has ended by then.
        """
        state = _plan(targets)
        try:
            while state.ready or state.running:
                if state.ready:
                    self._begin(state, state.ready.popleft())
                else:
                    self._finish(state, self._done.get())
        finally:
            # Without an error nothing runs any more, and this does nothing.
            self._cancelled.set()
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
            for step in state.running.values():
                step.finish(error=CANCELED, canceled=True)
        return [state.results[vertex] for vertex in targets]

    def _begin(self, state: _State, vertex: Vertex) -> None:
        operation = self._provider(vertex)
        inputs = [state.results[source] for source in vertex.inputs]
        step = self._step(vertex)
        try:
            if isinstance(operation, Direct):
                solve = partial(self._solve, operation, inputs, step)
                if operation.blocking:
                    self._submit(state, vertex, step, solve)
                else:
                    self._solved(state, vertex, solve())
                return
            key = operation.key(inputs)
            stack, verdict = self._look_up(vertex, key)
        except KeyboardInterrupt:
            step.finish(error=CANCELED, canceled=True)
            raise
        except BaseException as error:
            step.finish(error=str(error) or type(error).__name__)
            _place(error, vertex)
            raise
        if stack is not None:
            self._hit(step, key, verdict)
            self._solved(state, vertex, stack)
        else:
            run = partial(self._run, vertex, operation, inputs, step, key, verdict)
            self._submit(state, vertex, step, run)

    def _look_up(self, vertex: Vertex, key: CacheKey) -> tuple[Stack | None, Verdict]:
        if vertex.forced:
            return None, Forced(flag=vertex.forced)
        return self._memory.look_up(key, vertex.locus)

    def _hit(self, step: Step, key: CacheKey, verdict: Verdict) -> None:
        step.decided(verdict, key=key.digest)
        step.finish(cached=True)
        self._recorder.count(step, cached=True)

    def _solve(self, operation: Direct, inputs: Sequence[Result], step: Step) -> Result:
        result = operation.solve(inputs, Running(step=step, cancelled=self._cancelled))
        step.finish()
        return result

    def _run(
        self,
        vertex: Vertex,
        operation: Cached,
        inputs: Sequence[Result],
        step: Step,
        key: CacheKey,
        verdict: Verdict,
    ) -> Result:
        """Run a step that missed, unless another process has just done so."""
        with self._single_flight(
            key.digest,
            waiting=lambda: step.note("another build runs this step: waiting for it"),
            cancelled=self._cancelled,
        ):
            if self._cancelled.is_set():
                raise Canceled(CANCELED)
            # It may have been run between the miss and the lock, also where nobody had to wait.
            found = None if vertex.forced else self._memory.find(key)
            if found is not None:
                stack, verdict = found
                self._hit(step, key, verdict)
                return stack
            step.decided(verdict, key=key.digest)
            started = time.monotonic()
            stack = operation.run(inputs, Running(step=step, cancelled=self._cancelled))
            seconds = time.monotonic() - started
            same = self._memory.add(
                key, locus=vertex.locus, name=vertex.name, stack=stack, seconds=seconds
            )
        step.finish(same=same)
        self._recorder.count(step, cached=False)
        return stack

    def _submit(
        self,
        state: _State,
        vertex: Vertex,
        step: Step,
        work: Callable[[], Result],
    ) -> None:
        def job() -> None:
            try:
                done = _Done(vertex, work())
            except BaseException as error:
                canceled = self._cancelled.is_set()
                step.finish(
                    error=CANCELED if canceled else str(error) or type(error).__name__,
                    canceled=canceled,
                )
                done = _Done(vertex, error=error)
            self._done.put(done)

        state.running[vertex] = step
        self._threads().submit(job)

    def _threads(self) -> ThreadPoolExecutor:
        """The pool, made when the first step misses: a cached build needs none."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="step")
        return self._pool

    def _finish(self, state: _State, done: _Done) -> None:
        del state.running[done.vertex]
        if done.error is not None:
            _place(done.error, done.vertex)
            raise done.error
        assert done.result is not None
        self._solved(state, done.vertex, done.result)

    def _solved(self, state: _State, vertex: Vertex, result: Result) -> None:
        state.results[vertex] = result
        for dependent in state.dependents.pop(vertex, ()):
            state.missing[dependent] -= 1
            if not state.missing[dependent]:
                state.ready.append(dependent)

    def _step(self, vertex: Vertex) -> Step:
        span = vertex.span
        if span is None:
            return self._recorder.step(vertex.name)
        return self._recorder.step(vertex.name, file=span.file.name, line=span.line)


def _plan(targets: Sequence[Vertex]) -> _State:
    """Every vertex below the targets, once, with what it waits for."""
    state = _State()
    stack = list(reversed(targets))
    while stack:
        vertex = stack.pop()
        if vertex in state.missing:
            continue
        sources = set(vertex.inputs)
        state.missing[vertex] = len(sources)
        for source in sources:
            state.dependents.setdefault(source, []).append(vertex)
        stack.extend(reversed(vertex.inputs))
        if not sources:
            state.ready.append(vertex)
    return state


def _place(error: BaseException, vertex: Vertex) -> None:
    """Give the error the place of its instruction."""
    if isinstance(error, LaminaError):
        error.place(vertex.span)
