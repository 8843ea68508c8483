"""Plain progress: BuildKit's format."""

from __future__ import annotations

import io
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from lamina.cachekey.difference import Change
from lamina.trace import events
from lamina.trace.events import Event
from lamina.trace.verdict import Hit, KeyChanged, NeverBuilt, Uncacheable, Verdict
from lamina.ui.plain import LONGEST_LINE, MOST_HELD_BACK, PlainProgress


def started(step: int, name: str = "RUN x", time: float = 0.0) -> Event:
    return events.StepStarted(time=time, step=step, name=name)


def printed(step: int, data: bytes, time: float = 0.0) -> Event:
    return events.StepOutput(time=time, step=step, stream=1, data=data)


def decided(step: int, verdict: Verdict) -> Event:
    return events.StepDecided(time=0.0, step=step, verdict=verdict)


def ended(step: int, *, time: float = 0.0, cached: bool = False, error: str = "") -> Event:
    return events.StepFinished(time=time, step=step, seconds=time, cached=cached, error=error)


def shown(stream: Iterable[Event]) -> str:
    out = io.BytesIO()
    progress = PlainProgress(out, clock=lambda: 0.0)
    for event in stream:
        progress(event)
    progress.close()
    return out.getvalue().decode("utf-8", "surrogateescape")


def test_the_transcript_of_the_documentation() -> None:
    """Steps one after the other give BuildKit's transcript, letter for letter."""
    stream = [
        started(8, "[stage-0 3/5] RUN touch foo.txt"),
        ended(8, time=0.1),
        started(9, "[stage-0 4/5] RUN --mount=target=. ls -1"),
        printed(9, b"Dockerfile\n", time=0.04),
        ended(9),
        started(10, "[stage-0 5/5] RUN ls -1"),
        ended(10, cached=True),
    ]
    assert shown(stream) == (
        "#8 [stage-0 3/5] RUN touch foo.txt\n#8 DONE 0.1s\n\n"
        "#9 [stage-0 4/5] RUN --mount=target=. ls -1\n#9 0.040 Dockerfile\n#9 DONE 0.0s\n\n"
        "#10 [stage-0 5/5] RUN ls -1\n#10 CACHED\n"
    )


def test_a_miss_says_why_and_nothing_else_does() -> None:
    """One line under a missed step; none under a hit or under what has no key."""
    changed = KeyChanged(changes=(Change(part="file:src/app.py", before="a", after="b"),))
    for verdict, expected in (
        (changed, "#1 why: file src/app.py changed\n"),
        (NeverBuilt(), "#1 why: never built here\n"),
        (Hit(record="r"), ""),
        (Uncacheable(why="internal"), ""),
    ):
        text = shown([started(1), decided(1, verdict), ended(1)])
        assert text == f"#1 RUN x\n{expected}#1 DONE 0.0s\n"


def test_the_time_before_output_has_four_digits() -> None:
    """Seconds since the step's start with three digits behind the point, then two, then one."""
    stream = [started(1, time=1.0)]
    stream += [printed(1, b"x\n", time=time) for time in (1.5, 13.0, 112.25)]
    assert shown([*stream, ended(1)]).splitlines()[1:4] == [
        "#1 0.500 x",
        "#1 12.00 x",
        "#1 111.2 x",
    ]


def test_a_step_that_ends_interrupts_the_one_that_is_shown() -> None:
    """The step that is left is marked by `...`, and named again when it goes on."""
    stream = [
        started(1, "A"),
        printed(1, b"a1\n"),
        started(2, "B"),
        printed(2, b"b1\n"),
        ended(2),
        printed(1, b"a2\n"),
        ended(1),
    ]
    assert shown(stream) == (
        "#1 A\n#1 0.000 a1\n#1 ...\n\n#2 B\n#2 0.000 b1\n#2 DONE 0.0s\n\n"
        "#1 A\n#1 0.000 a2\n#1 DONE 0.0s\n"
    )


def test_a_waiting_step_is_shown_after_ten_seconds() -> None:
    """A step that runs beside one that talks all the time gets its turn."""
    talk = [printed(1, b"a\n", time=second / 2) for second in range(40)]
    stream = [started(1, "A"), started(2, "B"), printed(2, b"b\n", time=0.1), *talk]
    lines = shown(stream).splitlines()
    assert "#2 0.100 b" in lines
    assert lines.index("#2 0.100 b") < len(lines) - 5


def test_a_silent_step_gives_way_after_five_seconds() -> None:
    """Where the step that is shown says nothing, another one's output appears by the clock."""
    now = 0.0
    out = io.BytesIO()
    progress = PlainProgress(out, clock=lambda: now)
    progress(started(1, "A"))
    progress(started(2, "B"))
    progress(printed(2, b"hello\n"))
    now = 1.0
    progress.tick()
    assert b"hello" not in out.getvalue()
    now = 20.0
    progress.tick()
    assert b"#1 ...\n\n#2 B\n#2 0.000 hello\n" in out.getvalue()
    progress.close()


def test_much_output_of_a_waiting_step_is_not_kept_in_memory() -> None:
    """A step takes over when more than a quarter of a mebibyte waits to be shown."""
    out = io.BytesIO()
    progress = PlainProgress(out, clock=lambda: 0.0)
    progress(started(1, "A"))
    progress(started(2, "B"))
    progress(printed(2, b"line\n" * (MOST_HELD_BACK // 4)))
    assert b"#2 0.000 line" in out.getvalue()
    progress.close()


def test_an_unfinished_line_is_shown_and_goes_on() -> None:
    """Output without a line end appears at once; what follows continues the line."""
    out = io.BytesIO()
    progress = PlainProgress(out, clock=lambda: 0.0)
    progress(started(1, "A"))
    progress(printed(1, b"50%"))
    assert out.getvalue().endswith(b"#1 0.000 50%")
    progress(printed(1, b" 100%"))
    progress(ended(1))
    progress.close()
    assert out.getvalue() == b"#1 A\n#1 0.000 50% 100%\n#1 DONE 0.0s\n"


def test_an_unfinished_line_is_ended_and_repeated_around_another_step() -> None:
    """No line holds the output of two steps."""
    stream = [
        started(1, "A"),
        printed(1, b"half"),
        started(2, "B"),
        ended(2),
        printed(1, b" done\n"),
        ended(1),
    ]
    assert shown(stream) == (
        "#1 A\n#1 0.000 half\n#1 ...\n\n#2 B\n#2 DONE 0.0s\n\n"
        "#1 A\n#1 0.000 half done\n#1 DONE 0.0s\n"
    )


@given(st.lists(st.binary(max_size=12)))
def test_no_byte_is_lost(pieces: list[bytes]) -> None:
    """However the output is cut up, its lines come out whole, in order, byte for byte."""
    out = io.BytesIO()
    progress = PlainProgress(out, clock=lambda: 0.0)
    progress(started(1, "A"))
    for piece in pieces:
        progress(printed(1, piece))
    progress(ended(1))
    progress.close()
    whole = b"".join(pieces)
    lines = whole.removesuffix(b"\n").split(b"\n") if whole else []
    expected = b"#1 A\n" + b"".join(b"#1 0.000 " + line + b"\n" for line in lines)
    assert out.getvalue() == expected + b"#1 DONE 0.0s\n"


def test_a_line_without_end_is_cut() -> None:
    """Memory is bounded where a step never ends its line."""
    stream = [started(1)] + [printed(1, b"x" * 10_000)] * 30
    lines = shown([*stream, ended(1)]).splitlines()
    assert max(map(len, lines)) < LONGEST_LINE + 20_000
    assert sum(line.count("x") for line in lines[1:]) == 300_000


def test_progress_is_shown_in_steps_of_five_percent() -> None:
    """The first and the last state of a part are shown, and in between what is worth it."""
    total = 1_000_000
    parts = [
        events.StepProgress(
            time=current / total,
            step=1,
            what="sha256:aa",
            current=current,
            total=total,
            done=current == total,
        )
        for current in range(0, total + 1, 1000)
    ]
    lines = shown([started(1), *parts, ended(1)]).splitlines()[1:-1]
    assert lines[0] == "#1 sha256:aa 0B / 1.00MB"
    assert lines[-1] == "#1 sha256:aa 1.00MB / 1.00MB 1.0s done"
    assert 18 <= len(lines) <= 22


def test_a_failed_step_is_repeated_at_the_end() -> None:
    """Its last ten lines stand between rules, below everything else; a cancelled step is not."""
    stream = [
        started(1, "[1/2] RUN fail"),
        printed(1, b"".join(b"%d\n" % number for number in range(30))),
        started(2, "B"),
        events.StepFinished(time=0, step=2, seconds=0, canceled=True, error="canceled"),
        ended(1, error="exit code: 1"),
    ]
    text = shown(stream)
    assert "#2 CANCELED\n" in text
    assert "#1 ERROR: exit code: 1\n" in text
    tail = "".join(f"0.000 {number}\n" for number in range(20, 30))
    assert text.endswith(f"------\n > [1/2] RUN fail:\n{tail}------\n")
    assert text.count("------\n") == 2


def test_warnings_stand_at_the_end_once() -> None:
    """Each warning is one line with its place."""
    warning = events.Warned(time=0, message="JSON arguments", file="Dockerfile", line=9)
    text = shown([warning, started(1), warning, ended(1)])
    assert text.endswith(
        "DONE 0.0s\n\n 1 warning found (lamina build --check shows more):\n"
        " - JSON arguments (line 9)\n"
    )


def test_names_that_are_not_utf8_are_written_as_they_are() -> None:
    """A Dockerfile may hold any bytes."""
    name = b"RUN echo \xff".decode("utf-8", "surrogateescape")
    assert shown([started(1, name), ended(1)]).startswith(f"#1 {name}\n")


def test_what_still_runs_is_shown_at_the_end() -> None:
    """When a build is interrupted, output that waited for its turn is not lost."""
    text = shown([started(1, "A"), started(2, "B"), printed(2, b"last words")])
    assert text.endswith("#2 B\n#2 0.000 last words\n")


def test_names_and_reasons_cannot_write_to_the_terminal() -> None:
    """Names of files and what caches say may hold anything: no escape sequence, no line that a CI
    system would take for a command. The output of steps is theirs, and stays as it is.
    """
    evil = "a\x1b]0;title\x07\n::error::b"
    stream = [
        started(1, evil),
        decided(1, KeyChanged(changes=(Change(part=f"file:{evil}", before="1", after="2"),))),
        events.StepNote(time=0, step=1, text=evil),
        printed(1, b"\x1b[1mbold\n"),
        events.Warned(time=0, message=evil, file="", line=0),
        ended(1, error=evil),
    ]
    text = shown(stream).replace("\x1b[1mbold", "")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert not any(line.startswith("::") for line in text.splitlines())
    assert "#1 a\\x1b]0;title\\x07 ::error::b\n" in text
