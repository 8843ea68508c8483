"""The solver where results are known, but their files cannot be had any more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.cachekey.key import CacheKey, Part
from lamina.errors import UserError
from lamina.graph.ops import CopyOp, InlineSource, MergeOp, ScratchOp
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Layer, LayerLost, Stack
from lamina.oci.digest import Digest, digest_of
from lamina.ops.sources import Given, Merge
from lamina.ops.stacks import identity
from lamina.solver.port import Cached, Direct, Result, Running
from lamina.solver.solver import Solver
from lamina.trace import events
from lamina.trace.recorder import Recorder
from lamina.trace.verdict import Forced, Hit, NeverBuilt, ResultGone, Verdict


def vertex(name: str, *inputs: Vertex, forced: str = "") -> Vertex:
    """`copy …` looks into its second input, which gives one file; others run on all inputs."""
    op = CopyOp(sources=(InlineSource(name=name, content=b""),), dest="/")
    return Vertex(op=op, inputs=inputs or (Vertex(op=ScratchOp()),), name=name, forced=forced)


@dataclass
class Machine:
    """Layers in a set, records in a dictionary; a step's layer holds what `content` says."""

    layers: set[Digest] = field(default_factory=set)
    records: dict[Digest, Stack] = field(default_factory=dict)
    memos: dict[Digest, str] = field(default_factory=dict)
    content: dict[str, Callable[[], str]] = field(default_factory=dict)
    promised: set[Digest] = field(default_factory=set)
    ran: list[str] = field(default_factory=list)
    seen: list[events.Event] = field(default_factory=list)
    solver: Solver | None = None

    def provide(self, vertex: Vertex) -> Direct | Cached:
        match vertex.op:
            case ScratchOp():
                return Given(())
            case MergeOp():
                return Merge()
            case _:
                return _Step(self, vertex.name)

    def find(self, key: CacheKey) -> tuple[Stack, Verdict] | None:
        stack = self.records.get(key.digest)
        return None if stack is None else (stack, Hit(record=key.digest))

    def available(self, stack: Stack) -> bool:
        return all(layer.id in self.layers | self.promised for layer in stack)

    def why(self, key: CacheKey, locus: str) -> Verdict:
        return ResultGone(record=key.digest) if key.digest in self.records else NeverBuilt()

    def add(self, key: CacheKey, *, locus: str, name: str, stack: Stack, seconds: float) -> bool:
        before = self.records.get(key.digest)
        self.records[key.digest] = stack
        return before == stack

    def read(self, stack: Stack) -> None:
        """Fetch what was promised: it is not there."""
        for layer in stack:
            self.promised.discard(layer.id)
            if layer.id not in self.layers:
                raise LayerLost(f"{layer.id} is gone")

    @contextlib.contextmanager
    def flight(
        self, key: Digest, *, waiting: Callable[[], None], cancelled: threading.Event
    ) -> Iterator[None]:
        yield

    def solve(self, *targets: Vertex, demanded: Sequence[Vertex] | None = None) -> list[Result]:
        """A build of its own, with what earlier ones left."""
        self.ran.clear()
        self.seen.clear()
        self.solver = Solver(
            provider=self.provide,
            memory=self,
            single_flight=self.flight,
            recorder=Recorder((self.seen.append,)),
            jobs=2,
        )
        return self.solver.solve(targets, demanded=targets if demanded is None else demanded)

    def told(self) -> list[tuple[str, Verdict]]:
        names = {e.step: e.name for e in self.seen if isinstance(e, events.StepStarted)}
        return [(names[e.step], e.verdict) for e in self.seen if isinstance(e, events.StepDecided)]

    def lose(self, *names: str) -> None:
        self.layers -= {layer(name).id for name in names}


class _Step(Cached):
    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name = machine, name

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        stacks = [stack for stack in inputs if isinstance(stack, tuple)]
        parts = [Part("name", self.name), Part("parent", identity(stacks[0]))]
        parts += [Part(f"input{n}", self._look(stack)) for n, stack in enumerate(stacks[1:])]
        return CacheKey(tuple(parts))

    def _look(self, stack: Stack) -> str:
        """What a key says of an input that is copied from: the file that it gives."""
        if not self.name.startswith("copy"):
            return identity(stack)
        if identity(stack) not in self.machine.memos:
            self.machine.read(stack)
            self.machine.memos[identity(stack)] = stack[-1].id
        return self.machine.memos[identity(stack)]

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        for stack in inputs:
            assert isinstance(stack, tuple)
            self.machine.read(stack)
        self.machine.ran.append(self.name)
        made = layer(self.machine.content.get(self.name, lambda: self.name)())
        self.machine.layers.add(made.id)
        below = inputs[0]
        assert isinstance(below, tuple)
        return (*below, made)


def layer(content: str) -> Layer:
    return Layer(id=digest_of(content.encode()))


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_what_nobody_asks_for_is_not_made_again(machine: Machine) -> None:
    """The stage that a file was copied from is gone; the file is here."""
    target = vertex("copy", vertex("base"), vertex("build", vertex("source")))
    first = machine.solve(target)
    machine.lose("build", "source")
    assert machine.solve(target) == first
    assert machine.ran == []


def test_a_step_that_has_to_run_has_its_inputs_made_again(machine: Machine) -> None:
    """As far down as layers are missing, and no further."""
    build = vertex("build", vertex("middle", vertex("source")))
    machine.solve(vertex("copy", vertex("base"), build))
    machine.lose("build", "middle")
    machine.solve(vertex("copy other", vertex("base"), build))
    assert machine.ran == ["middle", "build", "copy other"]


def test_a_missing_layer_below_does_not_run_the_step_above(machine: Machine) -> None:
    """Its own layer is here, and the one that it stands on is made as it was."""
    target = vertex("top", vertex("middle", vertex("bottom")))
    machine.solve(target)
    machine.lose("bottom")
    machine.solve(target)
    assert machine.ran == ["bottom"]


def test_a_target_that_is_not_demanded_may_be_gone(machine: Machine) -> None:
    """It is enough to know what it was."""
    target = vertex("a")
    first = machine.solve(target)
    machine.lose("a")
    assert machine.solve(target, demanded=()) == first
    assert machine.ran == []


def test_a_demanded_target_is_made_again_and_says_why(machine: Machine) -> None:
    """CACHED stays what was said; then it is shown running, with its reason."""
    target = vertex("a")
    machine.solve(target)
    machine.lose("a")
    machine.solve(target)
    (key,) = machine.records
    assert machine.told() == [("a", Hit(record=key)), ("a", ResultGone(record=key))]


def test_the_counts_of_a_build_know_a_step_once(machine: Machine) -> None:
    """A step that had to run after all ran, and was not cached."""
    target = vertex("b", vertex("a"))
    machine.solve(target)
    machine.lose("a", "b")
    recorder = Recorder((machine.seen.append,))
    Solver(
        provider=machine.provide,
        memory=machine,
        single_flight=machine.flight,
        recorder=recorder,
        jobs=2,
    ).solve([target], demanded=[target])
    assert (recorder.cached, recorder.ran) == (0, 2)


def test_a_key_that_needs_files_has_them_made_again(machine: Machine) -> None:
    """Without its memo, the key of a copy is computed from the files."""
    target = vertex("copy", vertex("base"), vertex("build"))
    machine.solve(target)
    machine.lose("build")
    machine.memos.clear()
    machine.solve(target)
    assert machine.ran == ["build"]


def test_what_was_solved_with_another_result_is_solved_anew(machine: Machine) -> None:
    """Two files of one stage are always of one run of it."""
    contents = iter(("first", "second"))
    machine.content["build"] = lambda: next(contents)
    build = vertex("build")
    one = vertex("copy one", vertex("base"), build)
    machine.solve(one)
    machine.lose("first")
    machine.memos.clear()
    machine.memos[identity((layer("first"),))] = layer("first").id
    # The second copy is new, and so needs the files.
    (result,) = machine.solve(vertex("both", one, vertex("run", build)))
    assert machine.ran.count("build") == 1
    assert "copy one" in machine.ran
    assert machine.ran[-1] == "both"
    assert isinstance(result, tuple)
    (key,) = (key for key in machine.records if machine.records[key] == result)
    assert machine.solver is not None
    assert machine.solver.keys()[-1] == key


def test_a_rerun_with_the_same_result_runs_nothing_above(machine: Machine) -> None:
    """Early cutoff holds for what is made again, too."""
    build = vertex("build")
    machine.solve(vertex("above", vertex("copy", vertex("base"), build)))
    machine.lose("build")
    machine.solve(
        vertex("join", vertex("above", vertex("copy", vertex("base"), build)), vertex("new", build))
    )
    assert sorted(machine.ran) == ["build", "join", "new"]


def test_nothing_begins_on_a_result_that_is_in_doubt(machine: Machine) -> None:
    """A step above it runs once, on what came out in the end."""
    contents = iter(("first", "second"))
    machine.content["build"] = lambda: next(contents)
    build = vertex("build")
    copied = vertex("copy", vertex("base"), build)
    machine.solve(copied)
    machine.lose("first")
    machine.solve(vertex("join", vertex("new", build), vertex("long", copied)))
    assert sorted(machine.ran) == ["build", "copy", "join", "long", "new"]


def test_a_layer_that_was_promised_and_is_not_there_is_made_again(machine: Machine) -> None:
    """An external cache may say that it has what it has not: the step above waits, and runs."""
    build = vertex("build")
    machine.solve(build)
    machine.promised.add(layer("build").id)
    machine.lose("build")
    machine.solve(vertex("run", build))
    assert machine.ran == ["build", "run"]
    started = [e.name for e in machine.seen if isinstance(e, events.StepStarted)]
    assert started.count("run") == 1


def test_an_output_may_ask_again(machine: Machine) -> None:
    """What is solved stays solved, but for what was lost meanwhile."""
    target = vertex("b", vertex("a"))
    machine.solve(target)
    machine.lose("b")
    machine.ran.clear()
    assert machine.solver is not None
    machine.solver.solve([target], demanded=[target])
    assert machine.ran == ["b"]


def test_a_merge_of_lost_layers_has_them_made_again(machine: Machine) -> None:
    """COPY --link puts layers on each other, and has none of its own."""
    linked = Vertex(op=MergeOp(), inputs=(vertex("base"), vertex("linked")), name="merge")
    first = machine.solve(linked)
    machine.lose("linked")
    assert machine.solve(linked) == first
    assert machine.ran == ["linked"]


def test_a_layer_that_nothing_can_make_again_is_an_error(machine: Machine) -> None:
    """And no endless loop."""

    class Broken(_Step):
        def run(self, inputs: Sequence[Result], running: Running) -> Stack:
            raise LayerLost("gone for ever")

    machine.provide = lambda vertex: (  # type: ignore[method-assign]
        Given(()) if isinstance(vertex.op, ScratchOp) else Broken(machine, vertex.name)
    )
    with pytest.raises(LayerLost, match="gone for ever"):
        machine.solve(vertex("a"))


def test_an_error_while_something_is_made_again_ends_the_build(machine: Machine) -> None:
    """The step that waited for it ends, too."""

    def fail() -> str:
        raise UserError("broken")

    build = vertex("build")
    machine.solve(build)
    machine.lose("build")
    machine.content["build"] = fail
    with pytest.raises(UserError, match="broken"):
        machine.solve(vertex("run", build))
    finished = [e for e in machine.seen if isinstance(e, events.StepFinished)]
    started = [e for e in machine.seen if isinstance(e, events.StepStarted)]
    assert {e.step for e in finished} == {e.step for e in started}


def test_a_forced_step_is_run_again_for_its_own_reason(machine: Machine) -> None:
    """--no-cache is what it says, lost or not."""
    build = vertex("build", forced="--no-cache")
    machine.solve(build)
    machine.lose("build")
    machine.solve(vertex("run", build))
    assert ("build", Forced(flag="--no-cache")) in machine.told()


@st.composite
def _graphs(draw: st.DrawFn) -> list[Vertex]:
    """Steps on steps; `copy …` steps look into their inputs."""
    made: list[Vertex] = []
    for number in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(("run", "copy")))
        below = draw(st.lists(st.sampled_from(made), max_size=3, unique=True)) if made else []
        made.append(vertex(f"{kind} {number}", *below))
    return made


@given(_graphs(), st.data())
def test_every_result_is_as_if_all_had_been_built_in_one_go(
    graph: list[Vertex], data: st.DataObject
) -> None:
    """Whatever was lost, and whatever comes out otherwise when it is made again."""
    machine = Machine()
    runs: dict[str, int] = {}
    unstable = data.draw(st.sets(st.sampled_from(graph)))

    def content(name: str) -> str:
        runs[name] = runs.get(name, 0) + 1
        return f"{name} run {runs[name]}"

    for each in unstable:
        machine.content[each.name] = lambda name=each.name: content(name)  # type: ignore[misc]
    machine.solve(*graph)
    every = sorted(machine.layers)
    machine.layers -= data.draw(st.sets(st.sampled_from(every)))
    if data.draw(st.booleans()):
        machine.memos.clear()
    demanded = data.draw(st.lists(st.sampled_from(graph), unique=True))
    extra = vertex("run extra", *data.draw(st.lists(st.sampled_from(graph), max_size=2)))
    results = machine.solve(*graph, extra, demanded=[*demanded, extra])
    by_vertex = dict(zip([*graph, extra], results, strict=True))
    for each, result in by_vertex.items():
        assert isinstance(result, tuple)
        inputs = [by_vertex.get(source, ()) for source in each.inputs]
        # It stands on its first input's final result, and is what its key now says.
        assert result[:-1] == inputs[0]
        assert machine.records[_Step(machine, each.name).key(inputs).digest] == result
    for each in [*demanded, extra]:
        stack = by_vertex[each]
        assert isinstance(stack, tuple)
        assert machine.available(stack)
    assert len(machine.ran) == len(set(machine.ran))
