"""Which step of one build is which step of another."""

from __future__ import annotations

from lamina.control.explaining.alignment import Alignment, align
from lamina.trace.steps import RecordedStep


def steps(*texts: str, stage: str = "") -> dict[int, RecordedStep]:
    label = f"{stage} " if stage else ""
    return {
        number: RecordedStep(
            number=number, name=f"[{label}{number}/{len(texts)}] {text}", started=0.0
        )
        for number, text in enumerate(texts, 1)
    }


def pairs(found: Alignment) -> dict[int, str]:
    return {number: step.text for number, step in found.partners.items()}


def test_a_new_step_moves_the_others() -> None:
    """They keep their partners."""
    found = align(steps("RUN a", "RUN b"), steps("RUN a", "RUN new", "RUN b"))
    assert pairs(found) == {1: "RUN a", 3: "RUN b"}
    assert found.added == {2}


def test_a_removed_step_is_named_where_it_stood() -> None:
    """At the step that stands in its place."""
    found = align(steps("RUN a", "RUN b", "RUN c"), steps("RUN a", "RUN c"))
    assert pairs(found) == {1: "RUN a", 2: "RUN c"}
    assert [step.text for step in found.removed[2]] == ["RUN b"]


def test_a_changed_step_is_the_same_step() -> None:
    """Its text is another one."""
    found = align(steps("RUN a", "RUN make x"), steps("RUN a", "RUN make y"))
    assert pairs(found) == {1: "RUN a", 2: "RUN make x"}


def test_another_instruction_is_another_step() -> None:
    """A COPY does not become a RUN."""
    found = align(steps("COPY a b"), steps("RUN a"))
    assert pairs(found) == {}
    assert found.added == {1}


def test_the_digest_of_an_image_does_not_count() -> None:
    """FROM is the same step when the image has moved."""
    found = align(steps("FROM x@sha256:" + "0" * 64), steps("FROM x@sha256:" + "1" * 64))
    assert list(found.partners) == [1]


def test_a_stage_that_got_a_name() -> None:
    """The only stage is the only stage, whatever it is called."""
    assert pairs(align(steps("RUN a"), steps("RUN a", stage="build"))) == {1: "RUN a"}
