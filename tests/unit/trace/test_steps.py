"""The steps of a build, folded from its events."""

from __future__ import annotations

import pytest

from lamina.trace import events
from lamina.trace.steps import RecordedStep, steps_of
from lamina.trace.verdict import Hit, ResultGone


@pytest.mark.parametrize(
    ("name", "label", "stage", "position", "text"),
    [
        ("[1/2] RUN x", "1/2", "", "1/2", "RUN x"),
        ("[build  3/12] RUN x [y]", "build 3/12", "build", "3/12", "RUN x [y]"),
        ("[linux/amd64 b 3/7] COPY a b", "linux/amd64 b 3/7", "linux/amd64 b", "3/7", "COPY a b"),
        ("[internal] load build context", "internal", "internal", "", "load build context"),
        ("exporting to image", "", "", "", "exporting to image"),
    ],
)
def test_names(name: str, label: str, stage: str, position: str, text: str) -> None:
    """A name has a stage, a place and a text."""
    step = RecordedStep(number=1, name=name, started=0.0)
    assert (step.label, step.stage, step.position, step.text) == (label, stage, position, text)


def test_a_step_that_had_to_run_after_all_is_there_once() -> None:
    """It was cached, and its files were gone when somebody needed them."""
    found = steps_of(
        (
            events.StepStarted(time=0.0, step=1, name="[1/2] RUN a"),
            events.StepDecided(time=0.0, step=1, verdict=Hit(record="k"), key="k"),
            events.StepFinished(time=0.0, step=1, seconds=0.0, cached=True),
            events.StepStarted(time=0.1, step=2, name="[2/2] RUN b", inputs=((1,),)),
            events.StepStarted(time=0.2, step=3, name="[1/2] RUN a"),
            events.StepDecided(time=0.2, step=3, verdict=ResultGone(record="k"), key="k"),
            events.StepFinished(time=0.9, step=3, seconds=0.7),
            events.StepFinished(time=1.0, step=2, seconds=0.9, error="no"),
        )
    )
    assert list(found) == [2, 3]
    assert found[2].inputs == ((3,),)
    assert found[3].ran
    assert found[2].error == "no"
