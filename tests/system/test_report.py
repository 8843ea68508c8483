"""`lamina report`: a real build as a page, looked at in a real browser."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import Browser, running_chromium
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox AS deps
RUN --mount=type=cache,id=pkgs,target=/pkgs,sharing=locked echo x > /pkgs/a; sleep 0.6; echo 1 > /d
FROM busybox AS assets
RUN --mount=type=cache,id=pkgs,target=/pkgs,sharing=locked sleep 0.6; echo y > /pkgs/b; echo 2 > /s
FROM busybox
ARG VERSION=1
COPY . /app
COPY --from=deps /d /app/
COPY --from=assets /s /app/
RUN printf '\\033[31m<img src=x onerror=alert(1)>\\033[0m\\n'; rm /app/large.bin; echo $VERSION > /v
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "app.py").write_text("print(1)\n")
    (folder / "large.bin").write_bytes(b"\1" * 500_000)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


def told(lamina: Lamina, *arguments: str) -> dict[str, Any]:
    """The report as JSON."""
    text = lamina.run("report", *arguments, "--format=json").must_succeed().stdout
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_report_tells_what_happened(lamina: Lamina, context: Path) -> None:
    """Waiting, cache mounts, wasted bytes, the critical path, the context; then what was saved."""
    lamina.build(context, "-t", "shop:dev").must_succeed()
    (context / "src" / "app.py").write_text("print(2)\n")
    lamina.build(context, "-t", "shop:dev", "--build-arg=VERSION=2").must_succeed()
    first, second = told(lamina, "^1"), told(lamina)
    runs = [step for step in first["steps"] if step["text"].startswith("RUN")]
    waits = [span for run in runs for span in run["spans"] if span["kind"] == "wait"]
    assert [span["what"] for span in waits] == ["cache mount pkgs"]
    assert 0.3 < waits[0]["end"] - waits[0]["start"] < 20
    (mount,) = first["mounts"]
    assert mount["id"] == "pkgs"
    assert {use["before"] for use in mount["uses"]} == {0, 2}
    (image,) = first["images"]
    assert image["wasted"] == 500_000
    (waste,) = [layer["waste"] for layer in image["layers"] if layer["waste"]]
    assert waste[0]["path"] == "app/large.bin"
    assert "RUN printf" in waste[0]["by"]
    assert 1.2 < first["critical_seconds"] <= first["seconds"] + 0.01
    assert {step["step"] for step in runs if step["spans"][-1]["end"] > 1.2} & set(
        first["critical"]
    )
    assert first["context"]["files"] == 3
    assert first["saved"] == 0
    assert second["saved"] > 1.2
    assert [point["ran"] for point in second["trend"]] == [6, 4]
    headline = second["explanation"]["headline"]
    assert "src/app.py changed" in headline
    assert "VERSION" in headline


def test_the_page_in_a_browser(
    lamina: Lamina, context: Path, tmp_path: Path, browser: Browser
) -> None:
    """On a phone and a desk, light and dark: nothing is loaded, nothing is wrong, nothing sticks
    out; every control can be reached by the keyboard, and everything has a name.
    """
    lamina.build(context, "-t", "shop:dev").must_succeed()
    lamina.build(context, "-t", "shop:dev", "--build-arg=VERSION=2").must_succeed()
    page = tmp_path / "build.html"
    lamina.run("report", "^1", "-o", page).must_succeed()
    for width, dark in itertools.product((360, 1280), (False, True)):
        browser.open(page, width=width, dark=dark)
        browser.value("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert browser.value("document.documentElement.scrollWidth") == width
        assert browser.value("document.images.length") == 0
        style = "getComputedStyle(document.body)"
        ink, paper = browser.value(f"{style}.color"), browser.value(f"{style}.backgroundColor")
        assert (brightness(ink) > brightness(paper)) == dark
        assert browser.requests() == [page.as_uri()]
        assert browser.complaints() == []
        assert [
            role for role, name in browser.accessible() if role in MUST_HAVE_NAMES and not name
        ] == []
    roles = [role for role, _ in browser.accessible()]
    assert {"banner", "navigation", "main", "contentinfo", "table"} <= set(roles)
    images = [name for role, name in browser.accessible() if role == "image"]
    assert any("for cache mount pkgs" in name for name in images)


MUST_HAVE_NAMES = (
    "image",
    "button",
    "link",
    "heading",
    "textbox",
    "searchbox",
    "combobox",
    "table",
)


def brightness(colour: object) -> int:
    """Of `rgb(1, 2, 3)`."""
    numbers = str(colour).removeprefix("rgb(").rstrip(")").split(", ")
    return sum(map(int, numbers))


def test_the_page_by_keyboard(
    lamina: Lamina, context: Path, tmp_path: Path, browser: Browser
) -> None:
    """The first stop leads past the head; Enter unfolds a step; the focus is always seen."""
    lamina.build(context).must_succeed()
    page = tmp_path / "build.html"
    lamina.run("report", "-o", page).must_succeed()
    browser.open(page, width=1280)
    stops = []
    for _ in range(80):
        browser.press("Tab", 9)
        stops.append(str(browser.value(FOCUS)))
        assert browser.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if stops[-1].startswith("SUMMARY"):
            break
    assert stops[0] == "A Skip to the report"
    assert any(stop.startswith("INPUT") for stop in stops)
    assert any(stop.startswith("SELECT") for stop in stops)
    assert browser.value("document.activeElement.parentElement.open") is False
    browser.press("Enter", 13)
    assert browser.value("document.activeElement.parentElement.open") is True


FOCUS = "document.activeElement.tagName + ' ' + document.activeElement.innerText.trim()"


def test_the_filter(lamina: Lamina, context: Path, tmp_path: Path, browser: Browser) -> None:
    """What ran, what a word is in, the slowest first; a link to a hidden step shows it again."""
    lamina.build(context).must_succeed()
    lamina.build(context, "--build-arg=VERSION=2").must_succeed()
    page = tmp_path / "build.html"
    lamina.run("report", "-o", page).must_succeed()
    browser.open(page, width=1280)
    shown = "[...document.querySelectorAll('.step')].filter(one => !one.hidden).length"
    total = browser.value(shown)
    browser.value("document.querySelector('[data-show=ran]').click()")
    assert browser.value(shown) == 1
    assert browser.value("document.getElementById('said').textContent") == (
        f"1 of {total} steps are shown"
    )
    browser.value("document.querySelector('[data-show=all]').click()")
    browser.value(
        "search.value = 'from=assets'; search.dispatchEvent(new Event('input'))",
    )
    assert browser.value(shown) == 1
    browser.value("location.hash = document.querySelector('.chain a').hash")
    browser.value("new Promise(done => setTimeout(done, 50))")
    assert browser.value(shown) == 2
    browser.value("order.value = 'seconds'; order.dispatchEvent(new Event('change'))")
    slowest = "document.querySelector('.step').dataset.seconds"
    assert browser.value(f"{slowest} > 0") is True


def test_fifty_steps_are_small(lamina: Lamina, tmp_path: Path) -> None:
    """Less than 300 KiB, made in less than a second (and a half: of a busy machine)."""
    context = tmp_path / "many"
    context.mkdir()
    line = "RUN for i in $(seq 99); do echo '<&<&<&<&<&<&<&<&<&<&'; done; echo {} > /f\n"
    text = "".join(line.format(number) for number in range(50))
    (context / "Dockerfile").write_text(f"FROM busybox\n{text}")
    lamina.build(context).must_succeed()
    page = tmp_path / "build.html"
    started = time.monotonic()
    lamina.run("report", "-o", page).must_succeed()
    assert time.monotonic() - started < 1.5
    assert len(page.read_bytes()) < 300 * 1024
    assert "lamina history logs" in page.read_text()


def test_a_failed_build_shows_the_end_of_its_output(lamina: Lamina, context: Path) -> None:
    """In every format, with the markup that it has printed as text."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo '<b>oh no</b>'; exit 3\n")
    lamina.build(context).must_fail()
    page = lamina.run("report", "--format=html").must_succeed().stdout
    assert "&lt;b&gt;oh no&lt;/b&gt;" in page
    assert "<b>oh no" not in page
    assert "Failed after" in page
    summary = lamina.run("report", "--format=md").must_succeed().stdout
    assert summary.startswith("### ❌ ")
    assert "```text\n<b>oh no</b>\n```" in summary
    assert "failed" in lamina.run("report", "--format=svg").must_succeed().stdout


def test_where_it_is_written(lamina: Lamina, context: Path, tmp_path: Path) -> None:
    """The ending of the file's name says the format; what cannot be is one sentence."""
    assert "no build is recorded" in lamina.run("report").must_fail().stderr
    lamina.build(context).must_succeed()
    for name, begins in {
        "a.html": "<!doctype",
        "a.json": "{",
        "a.svg": "<svg",
        "a.md": "### ",
    }.items():
        lamina.run("report", "-o", name, cwd=tmp_path).must_succeed()
        assert (tmp_path / name).read_text().startswith(begins)
    refused = lamina.run("report", "-o", tmp_path / "no" / "a.html").must_fail()
    assert "cannot write" in refused.stderr
    assert "no build is called nothing" in lamina.run("report", "nothing").must_fail().stderr
    assert "--open" in lamina.run("report", "--open", "-o", "-").must_fail().stderr


def test_a_record_from_elsewhere(lamina: Lamina, context: Path, tmp_path: Path) -> None:
    """Of an imported build all is shown that came with it, and what did not is named."""
    lamina.build(context).must_succeed()
    exported = tmp_path / "build.rec"
    lamina.run("history", "export", "-o", exported).must_succeed()
    other = Lamina(store=tmp_path / "other", bases=lamina.bases)
    other.run("history", "import", exported).must_succeed()
    build = lamina.run("history", "ls", "-q").must_succeed().stdout.split()[0]
    page = other.run("report", build, "--format=html").must_succeed().stdout
    assert "it was built on another machine" in page
    assert "never built here" in page


def test_it_opens_in_the_browser(lamina: Lamina, context: Path, tmp_path: Path) -> None:
    """Without a name the page lies beside the build's record."""
    lamina.build(context).must_succeed()
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    script.chmod(0o755)
    asking = Lamina(store=lamina.store, environment={"BROWSER": f"{script} %s"})
    asking.run("report", "--open").must_succeed()
    shown = opened.read_text().strip()
    assert shown.startswith(f"file://{lamina.store}/history/")
    assert Path(shown.removeprefix("file://")).read_text().startswith("<!doctype html>")
