"""`.dockerignore`: patterns, decisions, walks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.dockerfile.ignore_matcher import Decision, Directory, IgnoreMatcher
from lamina.dockerfile.ignore_pattern import parse_ignore_pattern
from lamina.dockerfile.ignorefile import parse_ignore_file, read_ignore_lines
from lamina.dockerfile.problems import IgnoreFileError
from lamina.source import SourceFile

NAMES = ("a", "b", "ab", "a.b")
PATHS = tuple(
    "/".join(parts) for depth in (1, 2, 3) for parts in itertools.product(NAMES, repeat=depth)
)
PARTS = st.sampled_from(("a", "b", "*", "?", "**", "a*", "*b", "**b", "[ab]", "a.b", "\\a", "a**"))
PATTERNS = st.builds(
    lambda mark, parts: mark + "/".join(parts),
    st.sampled_from(("", "", "!")),
    st.lists(PARTS, min_size=1, max_size=3),
)


def matcher_of(text: str) -> IgnoreMatcher:
    return parse_ignore_file(SourceFile(".dockerignore", text))


def entered(matcher: IgnoreMatcher, path: str) -> Directory:
    directory = matcher.walk()
    for part in path.split("/"):
        directory = directory.enter(part.encode())
    return directory


def asked_downwards(matcher: IgnoreMatcher, path: str) -> bool:
    """The slow answer: the reference's question for every parent, and then for the path."""
    parts = path.split("/")
    matched, flags = matcher.matches_using_parent_results(parts[0])
    for end in range(2, len(parts) + 1):
        matched, flags = matcher.matches_using_parent_results("/".join(parts[:end]), flags)
    return matched


@given(st.lists(PATTERNS, max_size=5), st.sampled_from(PATHS))
def test_a_walk_decides_as_the_slow_way_does(patterns: list[str], path: str) -> None:
    """Filters, indexes and inherited results change nothing about the answer."""
    matcher = IgnoreMatcher.of(patterns)
    expected = asked_downwards(matcher, path)
    assert matcher.decide(path.encode()).ignored == expected
    assert entered(matcher, path).decision == matcher.decide(path.encode())


@given(st.lists(PATTERNS, max_size=5))
def test_what_cannot_be_taken_back_stays_ignored(patterns: list[str]) -> None:
    """Nothing below an ignored directory is wanted, if the directory says so."""
    matcher = IgnoreMatcher.of(patterns)
    closed = [
        path
        for path in PATHS
        if (directory := entered(matcher, path)).decision.ignored and not directory.may_reinclude
    ]
    for path in PATHS:
        if any(path.startswith(parent + "/") for parent in closed):
            assert matcher.decide(path.encode()).ignored


@given(st.lists(PATTERNS, max_size=4), st.sampled_from(PATHS))
def test_only_simple_lists_have_one_answer(patterns: list[str], path: str) -> None:
    """Without exclusions, to look at every parent and to walk are the same."""
    matcher = IgnoreMatcher.of(pattern.lstrip("!") for pattern in patterns)
    assert matcher.decide(path.encode()).ignored == matcher.matches_or_parent_matches(path)


@given(PATTERNS, st.sampled_from(PATHS))
def test_one_pattern_matches_as_read_aloud(text: str, path: str) -> None:
    """Exact, suffix, prefix and regular expression agree with a matcher that tries everything."""
    text = text.lstrip("!")
    pattern = parse_ignore_pattern(text)
    assert pattern is not None
    # To a pattern in the middle `**` is any number of whole parts; written onto others it is not.
    if all("**" not in part or part == "**" for part in text.split("/")):
        assert pattern.matches(path) == _matches(tuple(text.split("/")), tuple(path.split("/")))


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern == ("**",):
        return bool(path)
    if pattern[0] == "**":
        return any(_matches(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return bool(path) and _part(pattern[0], path[0]) and _matches(pattern[1:], path[1:])


def _part(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_part(pattern[1:], name[at:]) for at in range(len(name) + 1))
    if pattern.startswith("[ab]"):
        return name[:1] in ("a", "b") and _part(pattern[4:], name[1:])
    if pattern[0] == "\\":
        # Before an `a` it means the bell, as it does to RE2.
        return name[:1] == "\a" and _part(pattern[2:], name[1:])
    fits = bool(name) if pattern[0] == "?" else name[:1] == pattern[0]
    return fits and _part(pattern[1:], name[1:])


@pytest.mark.parametrize(
    ("text", "path", "decision"),
    [
        ("*.log\n", b"a.log", Decision(True, 1)),
        ("*.log\n", b"d/a.log", Decision(False)),
        ("**/*.log\n", b"d/a.log", Decision(True, 1)),
        ("# c\n\nd\n", b"d/e/f", Decision(True, 3)),
        ("/d/\n", b"d/e", Decision(True, 1)),
        ("*\n!d\n", b"d/e", Decision(False, 2)),
        ("*\n!d\nd/e\n", b"d/e", Decision(True, 3)),
        ("!a\na\n", b"a", Decision(True, 2)),
        ("a\n", b"", Decision(False)),
        ("**\n", b".", Decision(False)),
        ("\ufeffa\n", b"a", Decision(True, 1)),
        (" a \r\n", b"a", Decision(True, 1)),
        ("é*\n", "éa".encode(), Decision(True, 1)),
        ("?\n", b"\xff", Decision(True, 1)),
        ("./a/../b\n", b"b/c", Decision(True, 1)),
    ],
)
def test_the_deciding_line_is_told(text: str, path: bytes, decision: Decision) -> None:
    """The last pattern that changed the answer is the one that decided."""
    assert matcher_of(text).decide(path) == decision


@pytest.mark.parametrize(
    ("text", "directory", "may"),
    [
        ("node_modules\n!README.md\n", "node_modules", False),
        ("a\n!a/b/c\n", "a", True),
        ("a\n!a/b/c\n", "a/b", True),
        ("a\n!a/b/c\n", "a/x", False),
        ("!a/b\na\n", "a", False),
        ("*\n!*.md\n", "a", False),
        ("*\n!**/*.md\n", "a", True),
        ("*\n!b/*.md\n", "a", False),
        ("*\n!a/*\n", "a/b", False),
    ],
)
def test_whole_directories_can_be_skipped(text: str, directory: str, may: bool) -> None:
    """Only a later exclusion that could match something below keeps a directory open."""
    assert entered(matcher_of(text), directory).may_reinclude == may


@pytest.mark.parametrize(
    "pattern", ["[", "[]a]", "[a", "[^", "a[", "[-x]", "[x-]", "\\", "[a-b-c]"]
)
def test_malformed_patterns_are_refused_with_their_line(pattern: str) -> None:
    """The error tells the line, and its span underlines it."""
    with pytest.raises(IgnoreFileError) as caught:
        matcher_of(f"x\n{pattern}\n")
    assert caught.value.line == 2
    assert caught.value.span is not None
    assert caught.value.span.text == pattern


def test_a_lone_exclamation_mark_excludes_nothing() -> None:
    """It is an error, not an empty pattern."""
    with pytest.raises(IgnoreFileError, match="illegal exclusion pattern"):
        matcher_of("a\n ! \n")


def test_unmatchable_patterns_fail_when_they_are_tried() -> None:
    """A range from high to low is well-formed, but no regular expression."""
    matcher = IgnoreMatcher.of(["[z-a]"])
    with pytest.raises(IgnoreFileError, match="syntax error in pattern"):
        matcher.decide(b"x")
    with pytest.raises(IgnoreFileError):
        matcher.matches("x")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("\\d*", "1x", True),
        ("\\d*", "dx", False),
        ("\\**", "*x", True),
        ("[[:alpha:]]?", "ab", True),
        ("[[:alpha:]]?", "1b", False),
        ("[\\]]?", "]b", True),
        ("[^a]?", "bb", True),
        ("a$?", "a$b", True),
        ("*^b", "a^b", False),
        ("\\Q.?", ".x", False),
    ],
)
def test_backslashes_and_brackets_are_re2_s(pattern: str, path: str, expected: bool) -> None:
    """What the reference hands to its regular expressions means here what it means there."""
    assert IgnoreMatcher.of([pattern]).matches(path) == expected


def test_lines_keep_their_numbers() -> None:
    """Comments and empty lines count."""
    lines = read_ignore_lines(SourceFile("x", "#c\n\n a\n! /b/../c\n"))
    assert [(line.line, line.pattern) for line in lines] == [(3, "a"), (4, "!c")]
