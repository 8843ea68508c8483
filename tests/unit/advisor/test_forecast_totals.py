"""A forecast as values, and as people see it."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from lamina.advisor.forecast import Forecast, ForecastCommit, ForecastStep, Replay, StepName
from lamina.ui.forecast import render_forecast, render_json, summary
from lamina.ui.forecast_chart import render_chart

INSTALL = StepName(stage="", text="RUN npm ci")
MOUNTED = StepName(stage="", text="RUN --mount=type=cache,target=/x npm ci")
COPY = StepName(stage="build", text='COPY <<EOF "/a & b"')


def replay(*steps: tuple[StepName, bool, float | None], error: str = "") -> Replay:
    found = tuple(ForecastStep(name=name, hit=hit, seconds=sec) for name, hit, sec in steps)
    return Replay(steps=found, error=error)


def commit(number: int, before: Replay, after: Replay | None = None) -> ForecastCommit:
    return ForecastCommit(
        id=f"{number:040x}", time=number, subject="change", before=before, after=after
    )


def made(*commits: ForecastCommit) -> Forecast:
    after = "Other" if commits[0].after is not None else ""
    return Forecast(asked=200, before="today's", after=after, commits=commits)


def test_the_summary() -> None:
    """Rates are of all steps, and seconds are what a build saves on average."""
    slow = replay((INSTALL, False, 250.0), (COPY, False, 0.0))
    fast = replay((INSTALL, True, 250.0), (COPY, False, 0.0))
    found = made(commit(1, slow, slow), commit(2, slow, fast), commit(3, slow, fast))
    assert found.saved() == pytest.approx(500 / 3)
    assert summary(found) == (
        "hit rate 0 % → 33 %; 2 min 47 s saved per build over the last 3 commits"
    )


def test_nothing_is_invented() -> None:
    """A new RUN whose time nobody knows takes every word about saved time away."""
    before = replay((INSTALL, False, 250.0))
    after = replay((MOUNTED, False, None), (COPY, False, 1.0))
    found = made(commit(1, before, after))
    assert found.saved() is None
    assert summary(found) == "hit rate 0 % → 0 % over the last 1 commit; times are not known"


def test_what_both_do_not_know() -> None:
    """A step without a time that misses as often before as afterwards changes no difference."""
    before = replay((INSTALL, False, 3.0), (MOUNTED, False, None))
    after = replay((INSTALL, True, 3.0), (MOUNTED, False, None), (COPY, False, None))
    assert made(commit(1, before, after)).saved() is None  # no time of a miss is known afterwards
    more = replay((INSTALL, True, 3.0), (MOUNTED, True, None), (COPY, False, 1.0))
    assert made(commit(1, before, more)).saved() == pytest.approx(2.0)


def test_like_with_like() -> None:
    """A commit that only one of the Dockerfiles builds counts for neither."""
    good, bad = replay((INSTALL, True, 1.0)), replay((INSTALL, False, 1.0), error="no such file")
    found = made(commit(1, good, bad), commit(2, good, good))
    assert found.total(after=False).builds == found.total(after=True).builds == 1
    assert found.total(after=True).misses == 0


def test_rows() -> None:
    """The latest build's steps come first, in its order."""
    found = made(
        commit(1, replay((INSTALL, False, 1.0))),
        commit(2, replay((COPY, False, 1.0), (MOUNTED, False, 1.0))),
    )
    assert [row.name for row in found.rows()] == [COPY, MOUNTED, INSTALL]


def test_views() -> None:
    """Table, JSON and picture hold every step; texts are escaped."""
    found = made(commit(1, replay((COPY, False, 1.0), (INSTALL, True, 2.0))))
    assert "build: COPY" in render_forecast(found)
    assert json.loads(render_json(found))["before"]["misses"] == 1
    picture = ElementTree.fromstring(render_chart(found))
    assert picture.get("role") == "img"
    texts = [element.text for element in picture.iter() if element.text]
    assert any('"/a & b"' in text for text in texts)
