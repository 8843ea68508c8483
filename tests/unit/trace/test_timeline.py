"""The steps of a build over time, and its critical path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.trace.events import StepProgress, StepWaited
from lamina.trace.steps import RecordedStep
from lamina.trace.timeline import Timeline, draw
from lamina.trace.verdict import Hit, NeverBuilt, Verdict


def step(
    number: int,
    start: float,
    seconds: float,
    *inputs: int,
    name: str = "",
    verdict: Verdict | None = None,
    decided: float | None = None,
    waits: tuple[StepWaited, ...] = (),
    progress: tuple[StepProgress, ...] = (),
    cached: bool = False,
    ended: bool = True,
) -> RecordedStep:
    return RecordedStep(
        number=number,
        name=name or f"[{number}/9] RUN {number}",
        started=start,
        seconds=seconds,
        inputs=tuple((each,) for each in inputs),
        verdict=verdict or (None if name else NeverBuilt()),
        decided=start if decided is None else decided,
        waits=waits,
        parts_done=progress,
        cached=cached,
        ended=ended,
    )


def timeline(*steps: RecordedStep, seconds: float | None = None) -> Timeline:
    return draw({each.number: each for each in steps}, seconds)


def test_the_critical_path_goes_through_what_ended_last() -> None:
    """Of two branches only the longer one counts; what is short is not named."""
    found = timeline(
        step(1, 0.0, 0.001, name="[1/9] FROM busybox"),
        step(2, 0.001, 5.0, 1),
        step(3, 0.001, 1.0, 1),
        step(4, 5.001, 2.0, 2, 3),
        step(5, 7.001, 3.0, name="exporting to image"),
        seconds=10.1,
    )
    assert found.critical == (2, 4, 5)
    assert found.critical_seconds == pytest.approx(10.0)


def test_a_build_of_which_nothing_is_known_has_no_path() -> None:
    assert timeline() == Timeline(seconds=0.0, bars=())


def test_waiting_is_cut_out_of_the_time_that_a_step_ran() -> None:
    """It was looked up, waited for a lock in the middle, and ran."""
    wait = StepWaited(time=4.0, step=1, what="cache mount apt", seconds=2.0)
    (bar,) = timeline(step(1, 1.0, 9.0, waits=(wait,))).bars
    assert [(span.kind, span.start, span.end) for span in bar.spans] == [
        ("run", 1.0, 2.0),
        ("wait", 2.0, 4.0),
        ("run", 4.0, 10.0),
    ]
    assert bar.spans[1].what == "cache mount apt"


def test_a_step_that_had_to_wait_for_its_turn_says_so() -> None:
    """Between being looked at and being run, without another step's lock."""
    wait = StepWaited(time=4.0, step=1, what="another build of this step", seconds=1.0)
    (bar,) = timeline(step(1, 0.0, 9.0, decided=4.0, waits=(wait,))).bars
    assert [(span.kind, span.what) for span in bar.spans] == [
        ("wait", "its turn"),
        ("wait", "another build of this step"),
        ("run", ""),
    ]
    assert [span.seconds for span in bar.spans] == pytest.approx([3.0, 1.0, 5.0])


def test_kinds() -> None:
    """What was in the cache, what was loaded down, what the builder did, what was killed."""
    done = StepProgress(time=2.0, step=2, what="sha256:1", current=9, total=9, done=True)
    found = timeline(
        step(1, 0.0, 0.1, verdict=Hit(record="k"), cached=True),
        step(2, 0.1, 1.9, name="[internal] pull busybox", progress=(done,)),
        step(3, 2.0, 1.0, name="exporting to image", progress=(done,)),
        step(4, 2.0, 0.0, ended=False),
        seconds=6.0,
    )
    kinds = {bar.step: (bar.outcome, bar.spans[0].kind) for bar in found.bars}
    assert kinds == {
        1: ("cached", "cached"),
        2: ("done", "download"),
        3: ("done", "work"),
        4: ("unfinished", "run"),
    }
    assert found.bars[-1].end == 6.0


_SECONDS = st.floats(0, 100, allow_nan=False)


@given(st.lists(st.tuples(_SECONDS, _SECONDS, st.lists(st.integers(1, 12), max_size=3))))
def test_whatever_was_recorded_is_drawn(raw: list[tuple[float, float, list[int]]]) -> None:
    """Clocks and inputs that make no sense end the path, and nothing else."""
    steps = [step(n, start, secs, *inputs) for n, (start, secs, inputs) in enumerate(raw, 1)]
    found = timeline(*steps)
    assert len(found.bars) == len(steps)
    assert len(set(found.critical)) == len(found.critical)
    ends = [bar.end for bar in found.bars]
    assert found.seconds >= max(ends, default=0.0)
    for bar in found.bars:
        assert bar.spans[0].start == bar.start
        assert bar.spans[-1].end == pytest.approx(bar.end)
