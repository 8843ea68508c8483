"""The small languages: sizes, durations, CSV, near words, addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.dockerfile.csv_line import parse_csv_line
from lamina.dockerfile.git_ref import is_commit, parse_git_ref
from lamina.dockerfile.gostrings import quote
from lamina.dockerfile.problems import GitReferenceError
from lamina.dockerfile.sizes import parse_duration, parse_size
from lamina.dockerfile.sources import is_git_source, is_http_url
from lamina.dockerfile.suggest import nearest


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
    ("source", "kind"),
    [
        ("https://example.com/a.git", "git"),
        ("https://example.com/a.git#main:sub", "git"),
        ("https://example.com/a.tar.gz", "http"),
        ("http://example.com/a.git/", "http"),
        ("git@example.com:a/b.git", "git"),
        ("ssh://git@example.com/a", "git"),
        ("git://example.com/a", "git"),
        ("ftp://example.com/a.git", "path"),
        ("./a.git", "path"),
        ("a.git", "path"),
        ("a@b", "path"),
    ],
)
def test_kinds_of_sources(source: str, kind: str) -> None:
    """A repository on a web server is no file there."""
    assert (is_git_source(source), is_http_url(source)) == (kind == "git", kind == "http")


def test_fragment_and_query_of_a_repository() -> None:
    """They say the same in two ways, and must not contradict each other."""
    ref = parse_git_ref("git@example.com:a/b.git?branch=x&subdir=y&submodules=false")
    assert (ref.remote, ref.short_name) == ("git@example.com:a/b.git", "b")
    assert (ref.ref, ref.subdir, ref.submodules) == ("refs/heads/x", "y", False)
    fragment = parse_git_ref("https://example.com/b.git#x:/y/../z")
    assert (fragment.ref, fragment.subdir) == ("x", "z")
    with pytest.raises(GitReferenceError, match="ref conflicts") as caught:
        parse_git_ref("https://example.com/b.git?ref=x#y")
    assert caught.value.is_git


@given(st.text(alphabet="git@hp:/.#?&=[]%ab\n", max_size=25))
def test_any_text_is_a_repository_or_an_error(text: str) -> None:
    """Nothing else comes out."""
    for prefix in ("", "https://", "github.com/", "git@h:"):
        try:
            assert parse_git_ref(prefix + text).remote
        except GitReferenceError as error:
            assert error.message  # noqa: PT017


def test_commits_are_whole() -> None:
    """40 or 64 lower-case hexadecimal digits."""
    assert is_commit("0a" * 20)
    assert is_commit("0a" * 32)
    assert not is_commit("0A" * 20)
    assert not is_commit("0a" * 19)
