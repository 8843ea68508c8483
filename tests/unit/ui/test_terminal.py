"""The terminal's view: what fits is shown, nothing of a step's output can harm."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len, set_cell_size

from lamina.trace import events
from lamina.trace.events import Event
from lamina.trace.recorder import Recorder
from lamina.trace.verdict import Hit, NeverBuilt
from lamina.ui.board import Board
from lamina.ui.printable import terminal_line
from lamina.ui.progress import open_progress
from lamina.ui.tty_lines import Screen, render_board


def screen(width: int, height: int | None) -> Screen:
    return Screen(width=width, height=height, fit=set_cell_size, cells=cell_len)


def lines(
    stream: list[Event], *, width: int = 60, height: int | None = 24, now: float = 1.0
) -> list[str]:
    board = Board()
    for event in stream:
        board.take(event)
    drawn = render_board(board, now, screen(width, height))
    return ["".join(text for text, _ in line) for line in drawn]


def test_the_layout() -> None:
    """A header, a line a step with its timer at the right, details below what runs."""
    stream: list[Event] = [
        events.StepStarted(time=0, step=1, name="[1/3] FROM node"),
        events.StepProgress(time=0, step=1, what="sha256:" + "a" * 64, current=5, total=10),
        events.StepStarted(time=0, step=2, name="[2/3] WORKDIR /app"),
        events.StepDecided(time=0, step=2, verdict=Hit(record="r")),
        events.StepFinished(time=0, step=2, seconds=0, cached=True),
        events.StepStarted(time=0.5, step=3, name="[3/3] RUN make"),
        events.StepDecided(time=0.5, step=3, verdict=NeverBuilt()),
        events.StepOutput(time=0.6, step=3, stream=1, data=b"\x1b[32mcc a.c\x1b[0m\ncc b"),
    ]
    assert lines(stream) == [
        "[+] Building 1.0s (1/3)",
        " => [1/3] FROM node                                     1.0s",
        " => => sha256:aaaaaaaaa [##########----------] 5B / 10B 1.0s",
        " => CACHED [2/3] WORKDIR /app                           0.0s",
        " => [3/3] RUN make                                      0.5s",
        " => => why: never built here",
        " => => # cc a.c",
        " => => # cc b",
    ]


many = st.lists(
    st.tuples(
        st.text(alphabet="ab日\u0301é ", max_size=90),
        st.binary(max_size=60),
        st.sampled_from(["running", "cached", "done", "failed"]),
    ),
    max_size=30,
)


@given(many, st.integers(1, 200), st.integers(2, 50))
def test_nothing_is_wider_or_higher_than_the_terminal(
    steps: list[tuple[str, bytes, str]], width: int, height: int
) -> None:
    """Lines that wrapped, or a picture that scrolled, could not be drawn over."""
    stream: list[Event] = []
    for number, (name, output, state) in enumerate(steps, 1):
        stream.append(events.StepStarted(time=0, step=number, name=name))
        stream.append(events.StepDecided(time=0, step=number, verdict=NeverBuilt()))
        stream.append(events.StepOutput(time=0, step=number, stream=1, data=output))
        stream.append(events.StepProgress(time=0, step=number, what="p", current=1, total=3))
        if state != "running":
            stream.append(
                events.StepFinished(
                    time=0,
                    step=number,
                    seconds=0,
                    cached=state == "cached",
                    error="e" if state == "failed" else "",
                )
            )
    drawn = lines(stream, width=width, height=height)
    assert len(drawn) <= height
    assert all(cell_len(line) <= width for line in drawn)
    assert all(line.isprintable() for line in drawn)


def test_running_steps_come_before_ended_ones_where_room_is_scarce() -> None:
    """On a low terminal the steps that run are seen."""
    stream: list[Event] = []
    for number in range(1, 21):
        stream.append(events.StepStarted(time=0, step=number, name=f"step {number}"))
        if number != 3:
            stream.append(events.StepFinished(time=0, step=number, seconds=0))
    drawn = lines(stream, height=6)
    assert any("step 3 " in line for line in drawn)
    assert any("step 20 " in line for line in drawn)
    assert not any("step 10 " in line for line in drawn)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plain", "plain"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"10%\r50%\r100%", "100%"),
        (b"ends\r", "ends"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"a\tb", "a    b"),
        (b"\x1b[2J\x1b[Hgone", "gone"),
        (b"cut \x1b[", "cut "),
        (b"\xff\x00\x08", "\ufffd"),
        ("\u202eevil".encode(), "evil"),
    ],
)
def test_a_line_of_output_is_made_safe(data: bytes, expected: str) -> None:
    """Colours and control sequences are taken out, carriage returns start over."""
    assert terminal_line(data) == expected


@given(st.binary(max_size=200))
def test_no_control_character_gets_through(data: bytes) -> None:
    """Whatever a step prints."""
    assert not [letter for letter in terminal_line(data) if ord(letter) < 32 or letter == "\x9b"]


def test_a_flood_of_output_keeps_the_last_lines() -> None:
    """Memory is bounded, also by lines without an end."""
    board = Board()
    board.take(events.StepStarted(time=0, step=1, name="A"))
    for _ in range(50):
        board.take(events.StepOutput(time=0, step=1, stream=1, data=b"x" * 100_000))
    assert len(board.rows[1].partial) <= 4096
    board.take(events.StepOutput(time=0, step=1, stream=1, data=b"\n" + b"y\n" * 100_000))
    assert board.rows[1].tail(6) == ["y"] * 6


def test_the_final_state_stays_on_a_real_terminal() -> None:
    """Every step, then the failed one's output, with the cursor shown again."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(master, seen))
    reader.start()
    with open(slave, "wb", buffering=0) as stderr:
        progress = open_progress("auto", stderr=stderr, environ={"TERM": "xterm"})
        recorder = Recorder((progress,))
        recorder.build_started("b")
        step = recorder.step("[1/1] RUN false")
        step.output(1, b"last words\n")
        step.finish(error="exit code: 1")
        recorder.build_finished("exit code: 1")
        progress.close()
    reader.join()
    text = b"".join(seen).decode()
    final = text[text.rindex("[+] Building") :]
    assert "(1/1) FAILED" in final
    assert "ERROR [1/1] RUN false" in final
    assert "last words" in final
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def _read_all(master: int, seen: list[bytes]) -> None:
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:
            return
        if not data:
            return
        seen.append(data)
