"""JSON lines, quiet, tables, the sink: the small views."""

from __future__ import annotations

import base64
import io
import json
import os

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lamina.cachekey.difference import Change
from lamina.trace import events
from lamina.trace.events import Event
from lamina.trace.verdict import KeyChanged
from lamina.ui.progress import MODES, open_progress
from lamina.ui.pulls import PullProgress
from lamina.ui.quantities import render_age, render_amount, render_bytes
from lamina.ui.quiet import QuietProgress
from lamina.ui.rawjson import RawJsonProgress, render_event
from lamina.ui.sink import Sink
from lamina.ui.table import render_table


def test_events_are_one_line_each_and_can_be_read_back() -> None:
    """`rawjson` loses nothing."""
    change = Change(part="file:a", before="1", after="2")
    stream: list[Event] = [
        events.BuildStarted(time=0, build="b", started=1.5),
        events.StepStarted(time=0.1, step=1, name="RUN a\nb", file="Dockerfile", line=2),
        events.StepDecided(time=0.1, step=1, verdict=KeyChanged(changes=(change,))),
        events.StepOutput(time=0.2, step=1, stream=2, data=b"\xff\n"),
        events.StepFinished(time=0.3, step=1, seconds=0.2),
        events.BuildFinished(time=0.4, seconds=0.4, cached=0, ran=1),
    ]
    out = io.BytesIO()
    progress = RawJsonProgress(out)
    for event in stream:
        progress(event)
    progress.close()
    lines = out.getvalue().splitlines()
    assert [msgspec.json.decode(line, type=Event) for line in lines] == stream
    assert base64.b64decode(json.loads(lines[3])["data"]) == b"\xff\n"


@given(st.binary(max_size=20))
def test_any_name_gives_valid_json(name: bytes) -> None:
    """Bytes that are no UTF-8 become U+FFFD."""
    text = name.decode("utf-8", "surrogateescape")
    line = render_event(events.StepStarted(time=0, step=1, name=text))
    assert b"\n" not in line
    assert json.loads(line)["name"] == name.decode("utf-8", "replace") or "\ufffd" in line.decode()


def _quiet(*stream: Event) -> bytes:
    out = io.BytesIO()
    progress = QuietProgress(out)
    for event in stream:
        progress(event)
    progress.close()
    return out.getvalue()


def test_quiet_shows_the_whole_log_of_a_failed_step_alone() -> None:
    """However long it is; nothing of steps that went well or were cancelled."""
    log = b"".join(b"line %d\n" % number for number in range(20_000))
    stream: list[Event] = [
        events.StepStarted(time=0, step=1, name="A"),
        events.StepStarted(time=0, step=2, name="B"),
        events.StepStarted(time=0, step=3, name="C"),
        events.StepOutput(time=0, step=1, stream=1, data=b"fine\n"),
        events.StepOutput(time=0, step=3, stream=1, data=b"cut short\n"),
        events.StepOutput(time=0, step=2, stream=1, data=log),
        events.StepOutput(time=0, step=2, stream=1, data=b"oops"),
        events.StepFinished(time=0, step=1, seconds=0),
        events.StepFinished(time=0, step=3, seconds=0, canceled=True, error="canceled"),
        events.StepFinished(time=0, step=2, seconds=0, error="exit code: 1"),
    ]
    assert _quiet(*stream) == b"------\n > B:\n" + log + b"oops\n------\n"


def test_quiet_says_nothing_where_all_goes_well() -> None:
    """Standard error stays empty."""
    assert _quiet(events.StepStarted(time=0, step=1, name="A")) == b""


def test_run_shows_what_is_pulled_alone() -> None:
    """A step in which nothing is measured is not worth a line before a command's own output."""
    out = io.BytesIO()
    progress = PullProgress(out)
    stream: list[Event] = [
        events.StepStarted(time=0, step=1, name="load metadata"),
        events.StepFinished(time=0, step=1, seconds=0, error="gone"),
        events.StepStarted(time=0, step=2, name="pull busybox"),
        events.StepProgress(time=0, step=2, what="sha256:a", current=5, total=5, done=True),
        events.StepFinished(time=0, step=2, seconds=0.5),
    ]
    for event in stream:
        progress(event)
    progress.close()
    assert out.getvalue() == b"#2 pull busybox\n#2 sha256:a 5B / 5B done\n#2 DONE 0.5s\n"


def test_every_mode_opens_and_closes_without_a_terminal() -> None:
    """`tty` and `auto` fall back to plain."""
    for mode in MODES:
        progress = open_progress(mode, stderr=io.BytesIO(), environ={})
        progress(events.StepStarted(time=0, step=1, name="A"))
        progress.close()


def test_a_reader_that_goes_away_does_not_fail_the_build() -> None:
    """Writing to a closed pipe is given up silently."""
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as out:
        sink = Sink(out)
        sink.data(b"one")
        assert os.read(reading, 10) == b"one"
        os.close(reading)
        sink.data(b"two")
        sink.data(b"three")


def test_a_terminal_that_does_not_block_gets_everything() -> None:
    """Where the pipe is full the rest is written later."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        total = 0
        while data := os.read(reading, 65536):
            total += len(data)
        os._exit(0 if total == 1_000_000 else 1)
    os.close(reading)
    with open(writing, "wb", buffering=0) as out:
        Sink(out).data(b"x" * 1_000_000)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_columns_of_a_table_are_aligned() -> None:
    """Cells start below their title; control characters do not get through."""
    text = render_table(("name", "size"), [("a\x1b[31m", "1"), ("longer", "22")])
    assert text == "NAME     SIZE\na[31m    1\nlonger   22\n"
    assert render_table(("name", "size"), []) == "NAME   SIZE\n"


def test_quantities() -> None:
    """Decimal units with two digits, whole bytes below 1000; ages in the largest unit."""
    assert [render_bytes(n) for n in (0, 999, 1000, 3_150_000, 57 * 10**9)] == [
        "0B",
        "999B",
        "1.00kB",
        "3.15MB",
        "57.00GB",
    ]
    assert render_amount(3, 40, "files") == "3 / 40 files"
    assert render_amount(5, 0, "bytes") == "5B"
    assert render_amount(0, 0, "bytes") == ""
    assert render_amount(1, 3, "") == "1 / 3"
    assert render_amount(0, 1, "") == ""
    assert [render_age(n) for n in (0, 61, 7200, 86400 * 400)] == [
        "just now",
        "1 minute ago",
        "2 hours ago",
        "1 year ago",
    ]
