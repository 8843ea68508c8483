"""The small notations: sizes, durations, CSV, near words, quoting, truth values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.notation.boolean import parse_bool
from lamina.notation.csv_line import parse_csv_line
from lamina.notation.gostrings import quote
from lamina.notation.sizes import parse_duration, parse_size
from lamina.notation.suggest import nearest


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("10", 10), ("1k", 1024), ("1 KB", 1024), ("1.5GiB", 3 << 29), ("7b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    """Units are binary, in any case, with or without `b` and `ib`."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1x", "1kbb", "1bb", "1e30", "nan", "1 2"])
def test_wrong_sizes(text: str) -> None:
    """Negative sizes and unknown units are refused."""
    with pytest.raises(ValueError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1.5s", 1_500_000_000),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ("-1s", -1_000_000_000),
        (".5ms", 500_000),
        ("0s", 0),
        ("0h0m", 0),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    """Numbers with units add up."""
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "-", "1", "s", "1.s.", "1x", "9999999h"])
def test_wrong_durations(text: str) -> None:
    """A number needs a unit, and what does not fit is refused."""
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.lists(st.text(alphabet='ab",', min_size=1), min_size=1, max_size=4))
def test_quoted_fields_come_back(fields: list[str]) -> None:
    """What is written in quotes, with quotes doubled, is read as it was."""
    line = ",".join('"' + field.replace('"', '""') + '"' for field in fields)
    assert parse_csv_line(line) == tuple(fields)


@pytest.mark.parametrize(
    ("word", "known", "ignore_case", "expected"),
    [
        ("form", ("from", "link"), False, "from"),
        ("FRM", ("from",), True, "FROM"),
        ("frm", ("FROM",), True, "from"),
        ("Frm", ("FROM",), True, "from"),
        ("from", ("from", "form"), False, None),
        ("abc", ("xyz",), False, None),
    ],
)
def test_the_nearest_word(
    word: str, known: tuple[str, ...], ignore_case: bool, expected: str | None
) -> None:
    """Two edits are near; a known word has no nearest; the case is that of the question."""
    assert nearest(word, known, ignore_case=ignore_case) == expected


def test_quotes_show_what_cannot_be_printed() -> None:
    """Bytes that are not UTF-8 are shown as bytes."""
    assert quote('a"\\\n\x01é\u200b' + b"\xff".decode("utf-8", "surrogateescape")) == (
        '"a\\"\\\\\\n\\x01é\\u200b\\xff"'
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("T", True), ("true", True), ("0", False), ("False", False), ("f", False)],
)
def test_truth_values(text: str, value: bool) -> None:
    """The six spellings of each that Go knows."""
    assert parse_bool(text) is value


@pytest.mark.parametrize("text", ["", "yes", "tRUE", "2", " true"])
def test_what_is_no_truth_value(text: str) -> None:
    """Everything else is neither."""
    assert parse_bool(text) is None
