"""What kind of thing a source of ADD is, and what a download is called."""

from __future__ import annotations

import posixpath
import urllib.parse

from lamina.dockerfile.git_ref import parse_git_ref
from lamina.dockerfile.problems import GitReferenceError
from lamina.errors import UserError
from lamina.oci.digest import Digest, parse_digest

WEB = ("http://", "https://")
"""What the URL of a thing on a web server starts with."""


def is_git_source(source: str) -> bool:
    """Whether a source names a git repository; one with a wrong query does not."""
    try:
        parse_git_ref(source)
    except GitReferenceError:
        return False
    return True


def is_http_url(source: str) -> bool:
    """Whether a source is a file on a web server, and no git repository there."""
    return source.startswith(WEB) and not is_git_source(source)


def file_name(url: str) -> str:
    """The name that a download gets from its URL."""
    path = urllib.parse.urlsplit(url).path
    return urllib.parse.unquote(posixpath.basename(path)) or "__unnamed__"


def parse_checksum(text: str) -> Digest:
    """The value of `--checksum` for a download. Raises UserError."""
    algorithm, colon, _ = text.partition(":")
    if colon and algorithm != "sha256":
        raise UserError(
            f"unsupported digest algorithm {algorithm}", hint="write --checksum=sha256:…"
        )
    try:
        return parse_digest(text)
    except UserError:
        raise UserError(
            f"invalid checksum digest format: {text}",
            hint="write sha256: and 64 hexadecimal digits",
        ) from None
