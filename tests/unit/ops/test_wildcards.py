"""Patterns in the sources of COPY."""

from __future__ import annotations

import pytest

from lamina.errors import UserError
from lamina.ops.copying.wildcards import compile_part, has_wildcards, split_wildcards


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*.go", "foo.go", True),
        ("*.go", "foo.goo", False),
        ("*", ".hidden", True),
        ("f?o", "foo", True),
        ("f?o", "fäo", True),
        ("f?o", "fo", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("arr[[]0].txt", "arr[0].txt", True),
        ("[\\]]", "]", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a.b", "axb", False),
        ("a+b", "a+b", True),
        ("*", "a\nb", True),
        ("[c-a]", "b", False),
    ],
)
def test_one_part(pattern: str, name: str, matches: bool) -> None:
    """The rules are those of Go's filepath.Match."""
    assert (compile_part(pattern).match(name) is not None) == matches


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-]", "[-a]", "a\\", "[]a]", "[^]"])
def test_malformed_patterns(pattern: str) -> None:
    """A class that does not end, or holds nothing, is an error that shows the pattern."""
    with pytest.raises(UserError, match="syntax error in pattern"):
        compile_part(pattern)


@pytest.mark.parametrize(
    ("path", "base", "patterns"),
    [
        ("/", "", []),
        ("/a/b", "a/b", []),
        ("/*.go", "", ["*.go"]),
        ("/sub/*/dir2/foo", "sub", ["*", "dir2", "foo"]),
        (r"/a\*/b?", r"a\*", ["b?"]),
    ],
)
def test_where_patterns_start(path: str, base: str, patterns: list[str]) -> None:
    """What stands before the first wildcard is a plain path."""
    assert split_wildcards(path) == (base, patterns)


@pytest.mark.parametrize(
    ("text", "has"), [("a", False), ("a*", True), (r"a\*", False), (r"a\\*", True), ("[", True)]
)
def test_what_a_wildcard_is(text: str, has: bool) -> None:
    """A backslash takes the meaning from the letter behind it."""
    assert has_wildcards(text) == has
