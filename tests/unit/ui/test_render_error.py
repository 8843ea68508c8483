"""Errors as the user sees them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import StepFailed, UserError
from lamina.source import SourceFile, Span
from lamina.ui.render_error import MOST_LINES, render_error, render_excerpt

FILE = SourceFile("Dockerfile", "FROM alpine\n\nCOPY --form=x a b\nRUN one \\\n  && two\nCMD ok\n")


def at(text: str) -> Span:
    start = FILE.text.index(text)
    return Span(FILE, start, start + len(text))


def test_a_span_within_a_line_has_carets() -> None:
    """The message, the lines around, carets under the columns, the hint."""
    error = UserError("unknown flag: --form", span=at("--form=x"), hint="did you mean --from?")
    assert render_error(error) == (
        "ERROR: unknown flag: --form\n"
        "Dockerfile:3\n"
        "--------------------\n"
        "   1 |     FROM alpine\n"
        "   2 |\n"
        "   3 | >>> COPY --form=x a b\n"
        "     |          ^^^^^^^^\n"
        "   4 |     RUN one \\\n"
        "   5 |       && two\n"
        "--------------------\n"
        "hint: did you mean --from?\n"
    )


def test_a_span_of_several_lines_marks_them_all() -> None:
    """Every line of an instruction has the mark; there are no carets."""
    error = StepFailed("exit code: 1", exit_status=1, span=at("RUN one \\\n  && two"))
    assert render_error(error) == (
        "ERROR: exit code: 1\n"
        "Dockerfile:4\n"
        "--------------------\n"
        "   3 |     COPY --form=x a b\n"
        "   4 | >>> RUN one \\\n"
        "   5 | >>>   && two\n"
        "   6 |     CMD ok\n"
        "--------------------\n"
    )


def test_a_whole_line_needs_no_carets() -> None:
    """The mark says it already."""
    assert "^" not in render_excerpt(at("CMD ok"))


def test_without_span_and_hint_it_is_one_line() -> None:
    """Nothing is made up."""
    assert render_error(UserError("no")) == "ERROR: no\n"


def test_colours_only_where_asked_for() -> None:
    """Escape sequences stand around the labels alone."""
    assert render_error(UserError("no", hint="do"), color=True) == (
        "\x1b[31;1mERROR:\x1b[0m no\n\x1b[36;1mhint:\x1b[0m do\n"
    )


def test_escape_sequences_of_a_dockerfile_are_spelled_out() -> None:
    """Neither messages nor excerpts can move the cursor or retitle the window."""
    file = SourceFile("Docker\x1bfile", "RUN \x1b]0;title\x07 x\r\n")
    text = render_error(UserError("bad \x1b[2J\x9b1m", span=Span(file, 4, 6)))
    assert not set(text) & set("\x1b\x07\x9b\r")
    assert "\\x1b]0;title\\x07" in text


def test_a_long_instruction_is_not_shown_whole() -> None:
    """A heredoc of a thousand lines does not flood the terminal."""
    file = SourceFile("Dockerfile", "x" * 5000 + "\n" + "line\n" * 1000)
    text = render_excerpt(Span(file, 0, len(file.text)))
    assert text.count("\n") < MOST_LINES + 6
    assert "more lines)" in text
    assert max(map(len, text.splitlines())) < 500


@given(st.text(alphabet="ab \t\n\r\x1b", max_size=60), st.data())
def test_any_span_can_be_shown(text: str, data: st.DataObject) -> None:
    """Whatever the file holds and wherever the span stands, also at the end of the file."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    excerpt = render_excerpt(Span(SourceFile("D", text), start, end))
    assert excerpt.startswith("D:")
    assert ">>>" in excerpt
