"""What sources and repositories are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.dockerfile.git_ref import is_commit, parse_git_ref
from lamina.dockerfile.problems import GitReferenceError
from lamina.dockerfile.sources import is_git_source, is_http_url


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
