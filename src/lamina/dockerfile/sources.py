"""What kind of thing a source of ADD is."""

from __future__ import annotations

from lamina.dockerfile.git_ref import parse_git_ref
from lamina.dockerfile.problems import GitReferenceError


def is_git_source(source: str) -> bool:
    """Whether a source names a git repository; one with a wrong query does not."""
    try:
        parse_git_ref(source)
    except GitReferenceError:
        return False
    return True


def is_http_url(source: str) -> bool:
    """Whether a source is a file on a web server, and no git repository there."""
    return source.startswith(("http://", "https://")) and not is_git_source(source)
