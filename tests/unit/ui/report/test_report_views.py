"""The report as a page, a picture, Markdown and JSON."""

from __future__ import annotations

import itertools
import json
import re
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from lamina.cachekey.difference import FileGroup
from lamina.trace import explanation as e
from lamina.trace.record import Output
from lamina.trace.report import (
    FORMAT_VERSION,
    LogTail,
    MountUse,
    PartChange,
    Report,
    ReportedContext,
    ReportedImage,
    ReportedLayer,
    ReportedMount,
    ReportedStep,
    Sized,
    Suggestion,
    TrendPoint,
    WastedFile,
)
from lamina.trace.timeline import Span
from lamina.ui.report.document import render_document
from lamina.ui.report.markdown import render_markdown
from lamina.ui.report.page import render_page
from lamina.ui.report.picture import render_picture

NASTY = '<script>alert(1)</script> & "quotes" `ticks` | [x](javascript:y) @somebody \u202e'
LOG = (b"\x1b[31m<b>" + b"&" * 70 + b"\x1b[0m\n") * 60


def make_step(number: int, count: int) -> ReportedStep:
    """All in a row; every fourth one was cached, the last one failed."""
    start = float(number)
    cached, failed = number % 4 == 0, number == count
    return ReportedStep(
        step=number,
        where=f"stage-<{number % 3}> {number}/{count}",
        text=f"RUN --mount=type=cache,target=/x {NASTY * 8} {number}",
        file="Dockerfile",
        line=number,
        internal=False,
        outcome="cached" if cached else "failed" if failed else "ran",
        start=start,
        end=start + (0.001 if cached else 1.0),
        spans=(
            Span(kind="wait", start=start, end=start + 0.4, what=f"cache mount {NASTY}"),
            Span(kind="run", start=start + 0.4, end=start + 1.0),
        )
        if not cached
        else (Span(kind="cached", start=start, end=start + 0.001),),
        critical=not cached,
        why=NASTY,
        key=f"sha256:{number:064x}",
        error=NASTY * 4 if failed else "",
        notes=(NASTY,),
        saved=12.5 if cached else None,
        changes=tuple(PartChange(part=f"env:{NASTY}", before=NASTY, after=None) for _ in range(20)),
        left_out=7,
        size=1_000_000 * number,
        log=None if cached else LogTail(data=LOG, size=10**6, whole=False),
    )


def make_layer(number: int) -> ReportedLayer:
    files = tuple(Sized(path=f"usr/{NASTY}/{n}", size=10**n) for n in range(8))
    waste = tuple(
        WastedFile(path=f"usr/{NASTY}/{n}", size=10**n, how="removed", by=NASTY) for n in range(8)
    )
    return ReportedLayer(
        id=f"sha256:{number:064x}",
        step=number,
        name=NASTY,
        known=True,
        size=10**number % 10**8,
        largest=files,
        wasted=77,
        waste=waste if number % 5 == 0 else (),
    )


def make_explanation(steps: tuple[ReportedStep, ...]) -> e.Explanation:
    """The first step's files changed, and all others follow."""
    group = FileGroup(kind="changed", count=40, paths=tuple(f"{NASTY}{n}" for n in range(20)))
    cause: e.Cause = e.FilesChanged(source="src", groups=(group,))
    return e.Explanation(
        build="b" * 26,
        started=1.8e9,
        context="/app",
        dockerfile="Dockerfile",
        outcome="failed",
        against=None,
        step=None,
        first=(e.FirstCause(cause=cause, steps=(1,)),),
        steps=tuple(
            e.StepExplanation(
                step=step.step,
                where=step.where,
                text=step.text,
                ran=step.outcome != "cached",
                causes=(cause,) if step.step == 1 else (e.Follows(step=step.step - 1),),
            )
            for step in steps
        ),
    )


def make_report(count: int) -> Report:
    """As much of everything as there can be, and all of it hostile."""
    steps = tuple(make_step(number, count) for number in range(1, count + 1))
    point = TrendPoint(
        build="c" * 26, started=1.7e9, outcome="failed", seconds=3.0, cached=4, ran=6
    )
    return Report(
        version=FORMAT_VERSION,
        lamina="0",
        build="b" * 26,
        started=1.8e9,
        made=1.8e9 + 60,
        outcome="failed",
        error=NASTY,
        seconds=count + 1.0,
        cached=count // 4,
        ran=count - count // 4,
        saved=12.5,
        saved_unknown=1,
        title=NASTY,
        context_place=f"/{NASTY}",
        dockerfile=NASTY,
        target=NASTY,
        platforms=("linux/amd64",),
        tags=(NASTY,),
        outputs=(Output(type="image", digest="sha256:00", names=(NASTY,)),),
        warnings=(NASTY,),
        explanation=make_explanation(steps),
        steps=steps,
        critical=tuple(step.step for step in steps if step.critical),
        critical_seconds=count * 0.75,
        images=(ReportedImage(name=NASTY, layers=tuple(make_layer(n) for n in range(1, count))),),
        mounts=(
            ReportedMount(
                id=NASTY,
                sharing="locked",
                uses=(MountUse(step=1, target=NASTY, before=1, after=2, whole=False),),
            ),
        ),
        context=ReportedContext(
            place=NASTY,
            files=9,
            size=99,
            unused=4,
            unused_size=44,
            largest=(Sized(path=NASTY, size=9),),
            folders=(Sized(path=NASTY, size=9),),
            suggestions=(Suggestion(pattern=NASTY, count=1, size=9, why="may hold a secret"),),
        ),
        trend=(*[point] * 19, replace(point, build="b" * 26, outcome="succeeded")),
    )


class Page(HTMLParser):
    """What a page consists of, read by somebody else's parser."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def all(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(make_report(50))


def test_fifty_steps_fit_into_300_kib(page: str) -> None:
    """Whatever they are called and have printed, and however hostile it is to being escaped."""
    assert len(page.encode()) < 300 * 1024


def test_nothing_of_a_build_becomes_markup(page: str) -> None:
    """One script, our own; no attribute that runs anything; no letter that turns text around."""
    parsed = Page(page)
    assert len(parsed.all("script")) == 1
    assert page.count("alert(1)") == page.count("&lt;script&gt;alert(1)") > 10
    assert not [name for _, found in parsed.tags for name in found if name.startswith("on")]
    assert not [found for _, found in parsed.tags if "style" in found]
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_the_page_refers_to_nothing_outside(page: str) -> None:
    """Links lead to places of the page that exist; there are no others."""
    parsed = Page(page)
    ids = [found["id"] for _, found in parsed.tags if "id" in found]
    assert len(ids) == len(set(ids))
    for found in parsed.all("a"):
        assert found["href"].startswith("#")
        assert found["href"][1:] in ids
    assert next(found["href"] for found in parsed.all("link")).startswith("data:")
    assert not [found for tag, found in parsed.tags if "src" in found or tag in ("img", "iframe")]
    policy = next(f["content"] for f in parsed.all("meta") if "http-equiv" in f)
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_headings_follow_each_other(page: str) -> None:
    """One first heading; none skips a level."""
    levels = [int(tag[1]) for tag, _ in Page(page).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_pictures_and_tables_are_told_to_those_who_do_not_see_them(page: str) -> None:
    """A picture has a name or is hidden, a heading of a table says for what."""
    parsed = Page(page)
    for found in parsed.all("svg"):
        named = "aria-label" in found or "aria-labelledby" in found
        assert found.get("aria-hidden") == "true" or (found.get("role") == "img" and named) or (
            "viewBox" not in found and found.get("width") == "100%"
        )  # fmt: skip
    assert parsed.all("th")
    assert all(found.get("scope") for found in parsed.all("th"))
    assert [found["lang"] for found in parsed.all("html")] == ["en"]
    for landmark in ("main", "header", "footer", "nav"):
        assert len(parsed.all(landmark)) == 1


def test_what_is_left_out_of_an_output_is_said(page: str) -> None:
    """With the command that shows all of it."""
    assert "lamina history logs bbbbbbbbbbbb 1" in page
    assert "The end of" in page


def test_two_hundred_steps_take_less_than_a_second() -> None:
    """To render; the best of three, since other tests run meanwhile."""
    report = make_report(200)

    def taken() -> float:
        started = time.process_time()
        render_page(report)
        return time.process_time() - started

    assert min(taken() for _ in range(3)) < 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"steps": (), "critical": (), "seconds": 0.0, "cached": 0, "ran": 0},
        {"images": (), "mounts": (), "trend": (), "warnings": (), "outputs": ()},
        {"outcome": "unfinished", "error": ""},
        {"context": ReportedContext(place="-", unknown="it was received")},
        {"title": "", "tags": (), "imported": True},
        {"title": "\udcff", "context_place": "\udcff"},
    ],
    ids=",".join,
)
def test_there_may_be_less(change: dict[str, object]) -> None:
    """A build without steps, without layers, that never ended, with names that are no text."""
    report = replace(make_report(3), **change)
    if "steps" in change:
        report = replace(report, explanation=replace(report.explanation, first=(), steps=()))
    assert render_page(report).startswith("<!doctype html>")
    ET.fromstring(render_picture(report))
    assert render_markdown(report)
    json.loads(render_document(report))


def test_the_picture_is_svg_with_a_title_and_loads_nothing() -> None:
    """A bar a step, a name for it, and well-formed XML whatever the names are."""
    text = render_picture(make_report(50))
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert root.attrib["role"] == "img"
    assert root.find(f"{space}title") is not None
    assert root.find(f"{space}desc") is not None
    assert len(root.findall(f"{space}g/{space}title")) == 50
    assert not root.findall(f".//{space}script")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_markdown_keeps_names_in_code() -> None:
    """No line of it begins markup, links or mentions because something is called so."""
    text = render_markdown(make_report(50))
    assert text.startswith("### ❌ ")
    outside = re.sub(r"(?s)(`{3,})text\n.*?\n\1|(`+)(?!`).*?(?<!`)\2(?!`)", "", text)
    assert "<script>" not in outside
    assert "@somebody" not in outside
    assert "](javascript" not in outside
    assert len(text) < 60_000
    for line in text.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5


def test_json_has_a_version_and_the_words_of_every_cause() -> None:
    """Logs without escape sequences, sums beside what they are of."""
    told = json.loads(render_document(make_report(5)))
    assert told["version"] == 1
    assert told["explanation"]["first"][0]["cause"]["text"].startswith("40 files changed")
    assert told["steps"][0]["log"]["size"] == 10**6
    assert "\x1b" not in told["steps"][0]["log"]["text"]
    assert told["images"][0]["wasted"] == 77 * 4
    assert told["steps"][0]["seconds"] == 1.0
