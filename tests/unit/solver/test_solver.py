"""The solver: what runs, in which order, and what does not run at all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from lamina.cachekey.key import CacheKey, Part
from lamina.errors import UserError
from lamina.graph.ops import CopyOp, InlineSource, ScratchOp
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Layer, Stack
from lamina.oci.digest import Digest, digest_of
from lamina.ops.stacks import identity
from lamina.solver.port import Cached, Direct, Result, Running
from lamina.solver.solver import Solver
from lamina.source import SourceFile, Span
from lamina.trace import events
from lamina.trace.recorder import Recorder
from lamina.trace.verdict import Forced, Hit, NeverBuilt, ResultGone, Verdict


def vertex(name: str, *inputs: Vertex, forced: str = "") -> Vertex:
    op = CopyOp(sources=(InlineSource(name=name, content=b""),), dest="/")
    return Vertex(op=op, inputs=inputs or (Vertex(op=ScratchOp()),), name=name, forced=forced)


@dataclass
class Bench:
    """Operations that note that they ran, and a cache in a dictionary."""

    ran: list[str] = field(default_factory=list)
    works: dict[str, Callable[[Running], bytes]] = field(default_factory=dict)
    records: dict[Digest, Stack] = field(default_factory=dict)
    seen: list[events.Event] = field(default_factory=list)
    lost: set[Digest] = field(default_factory=set)
    before_lock: Callable[[Digest], None] = lambda key: None

    def provide(self, vertex: Vertex) -> Direct | Cached:
        return _Scratch() if isinstance(vertex.op, ScratchOp) else _Step(self, vertex.name)

    def find(self, key: CacheKey) -> tuple[Stack, Verdict] | None:
        stack = self.records.get(key.digest)
        return None if stack is None else (stack, Hit(record=key.digest))

    def available(self, stack: Stack) -> bool:
        return not any(layer.id in self.lost for layer in stack)

    def why(self, key: CacheKey, locus: str) -> Verdict:
        known = key.digest in self.records
        return ResultGone(record=key.digest) if known else NeverBuilt()

    def add(self, key: CacheKey, *, locus: str, name: str, stack: Stack, seconds: float) -> bool:
        self.records[key.digest] = stack
        return False

    @contextlib.contextmanager
    def flight(
        self, key: Digest, *, waiting: Callable[[], None], cancelled: threading.Event
    ) -> Iterator[None]:
        self.before_lock(key)
        yield

    def solve(self, *targets: Vertex, jobs: int = 4) -> list[Result]:
        solver = Solver(
            provider=self.provide,
            memory=self,
            single_flight=self.flight,
            recorder=Recorder((self.seen.append,)),
            jobs=jobs,
        )
        return solver.solve(targets)

    def finished(self) -> dict[str, events.StepFinished]:
        names = {e.step: e.name for e in self.seen if isinstance(e, events.StepStarted)}
        return {names[e.step]: e for e in self.seen if isinstance(e, events.StepFinished)}


class _Scratch(Direct):
    def solve(self, inputs: Sequence[Result], running: Running) -> Result:
        return ()


class _Step(Cached):
    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        below = [Part("input", identity(stack)) for stack in inputs if isinstance(stack, tuple)]
        return CacheKey((Part("name", self.name), *below))

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        self.bench.ran.append(self.name)
        work = self.bench.works.get(self.name)
        content = work(running) if work else self.name.encode()
        below = inputs[0]
        assert isinstance(below, tuple)
        return (*below, Layer(id=digest_of(content)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_inputs_come_before_what_needs_them(bench: Bench) -> None:
    """A chain runs from its start."""
    bench.solve(vertex("c", vertex("b", vertex("a"))))
    assert bench.ran == ["a", "b", "c"]


def test_equal_vertices_run_once(bench: Bench) -> None:
    """Though they were made twice, by two stages."""
    bench.solve(vertex("join", vertex("same"), vertex("same")))
    assert bench.ran == ["same", "join"]


def test_a_second_build_runs_nothing(bench: Bench) -> None:
    """Every step is a hit, and says so."""
    target = vertex("b", vertex("a"))
    first = bench.solve(target)
    bench.ran.clear()
    bench.seen.clear()
    assert bench.solve(target) == first
    assert bench.ran == []
    assert all(event.cached for event in bench.finished().values())


def test_a_step_that_makes_the_same_again_keeps_everything_below_cached(bench: Bench) -> None:
    """Early cutoff: what counts is the tree that a step gave, not that it ran."""
    bench.works["generate"] = lambda running: b"generated"
    bench.solve(vertex("test", vertex("compile", vertex("generate"))))
    bench.ran.clear()
    bench.solve(vertex("test", vertex("compile", vertex("generate", forced="--no-cache"))))
    assert bench.ran == ["generate"]


def test_a_step_that_makes_something_else_runs_everything_below(bench: Bench) -> None:
    """The other side of the same coin."""
    contents = iter((b"1", b"2"))
    bench.works["generate"] = lambda running: next(contents)
    bench.solve(vertex("compile", vertex("generate")))
    bench.ran.clear()
    bench.solve(vertex("compile", vertex("generate", forced="--no-cache")))
    assert bench.ran == ["generate", "compile"]


def test_a_forced_step_runs_though_it_is_known(bench: Bench) -> None:
    """And the flag is its reason."""
    bench.solve(vertex("a"))
    bench.solve(vertex("a", forced="--no-cache"))
    verdicts = [e.verdict for e in bench.seen if isinstance(e, events.StepDecided)]
    assert verdicts == [NeverBuilt(), Forced(flag="--no-cache")]


def test_independent_steps_run_at_the_same_time(bench: Bench) -> None:
    """Each waits for the other, which only works if both run."""
    barrier = threading.Barrier(2, timeout=10)

    def meet(running: Running) -> bytes:
        barrier.wait()
        return running.step.number.to_bytes(1, "big")

    bench.works = {"a": meet, "b": meet}
    bench.solve(vertex("join", vertex("a"), vertex("b")))


def test_one_job_means_one_step_at_a_time(bench: Bench) -> None:
    """--jobs 1 is kept."""
    running_now = threading.Semaphore(1)

    def alone(running: Running) -> bytes:
        assert running_now.acquire(blocking=False)
        running_now.release()
        return running.step.number.to_bytes(1, "big")

    bench.works = dict.fromkeys("abcd", alone)
    bench.solve(vertex("join", *map(vertex, "abcd")), jobs=1)


def test_what_another_process_made_meanwhile_is_not_made_again(bench: Bench) -> None:
    """With the lock of a key in hand, the cache is asked once more."""

    def other_builder(key: Digest) -> None:
        bench.records[key] = (Layer(id=digest_of(b"theirs")),)

    bench.before_lock = other_builder
    assert bench.solve(vertex("a")) == [(Layer(id=digest_of(b"theirs")),)]
    assert bench.ran == []


def test_a_failure_stops_its_siblings_and_is_raised_with_its_place(bench: Bench) -> None:
    """The sibling is told to stop, and is shown as canceled."""
    started = threading.Event()

    def fail(running: Running) -> bytes:
        assert started.wait(10)
        raise UserError("broken")

    def wait(running: Running) -> bytes:
        started.set()
        assert running.cancelled.wait(10)
        raise UserError("stopped")

    span = Span(SourceFile("Dockerfile", "RUN broken"), 0, 10)
    op = vertex("fails").op
    failing = Vertex(op=op, inputs=(Vertex(op=ScratchOp()),), name="fails", span=span)
    bench.works = {"fails": fail, "waits": wait}
    with pytest.raises(UserError, match="broken") as caught:
        bench.solve(vertex("join", vertex("waits"), failing))
    assert caught.value.span == span
    assert bench.finished()["waits"].canceled
    assert bench.finished()["fails"].error == "broken"
    assert "join" not in bench.ran


def test_a_failed_step_is_not_remembered(bench: Bench) -> None:
    """The next build runs it again, and what was done before it is cached."""

    def fail(running: Running) -> bytes:
        raise UserError("broken")

    bench.works["b"] = fail
    with pytest.raises(UserError):
        bench.solve(vertex("b", vertex("a")))
    bench.ran.clear()
    del bench.works["b"]
    bench.solve(vertex("b", vertex("a")))
    assert bench.ran == ["b"]


def test_a_long_chain_does_not_exhaust_the_stack(bench: Bench) -> None:
    """Thousands of steps are only a long loop."""
    target = vertex("0")
    for number in range(1, 2000):
        target = vertex(str(number), target)
    bench.solve(target)
    assert len(bench.ran) == 2000
