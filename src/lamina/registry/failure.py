"""What the status of an answer means (OCI distribution spec, "Error codes")."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from lamina.content.errors import NotFound
from lamina.errors import RemoteError
from lamina.registry.errors import ServerFailed, TooManyRequests, Unauthorized
from lamina.registry.transport import read_body

if TYPE_CHECKING:
    import urllib3

MAX_ERROR = 64 << 10
"""Not more of the body of a failure is read, in bytes."""


def failure_of(
    response: urllib3.BaseHTTPResponse, *, name: str, registry: str, url: str, redirected: bool
) -> RemoteError:
    """The error that the status of an answer means; consumes the answer.

    `name` is what was asked for, `url` who answered at last, `redirected` whether that was not
    the registry itself. Of the body only the registry's own words are told. Raises Unreachable.
    """
    status = response.status
    retry_after = _seconds(response.headers.get("Retry-After", ""))
    words = _words(read_body(response, url=url, limit=MAX_ERROR))
    host = urlsplit(url).hostname
    if status == 404:
        return NotFound(f"{name}: not found")
    if status == 429:
        wait = f", and wants us to wait {retry_after:.0f} s" if retry_after else ""
        return TooManyRequests(
            f"{name}: {host} limits the number of requests{wait}{words}",
            retry_after=retry_after,
        )
    if status == 403 and not redirected:
        return Unauthorized(
            f"{name}: {registry} denies access{words}",
            registry=registry,
            hint=f"log in with an account that may do this there: lamina login {registry}",
        )
    # A signed address in an object store may have expired: the registry gives a new one.
    retryable = status >= 500 or status == 408 or (redirected and status == 403)
    return ServerFailed(
        f"{name}: {host} answers with status {status}{words}",
        retryable=retryable,
        status=status,
        retry_after=retry_after,
    )


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Problems(msgspec.Struct):
    errors: tuple[_Problem, ...] = ()


def _words(body: bytes) -> str:
    """`: code: message` from a body of the form that the distribution spec has for errors."""
    try:
        problems = msgspec.json.decode(body, type=_Problems).errors
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""
    texts = [f"{each.code}: {each.message}" for each in problems[:3]]
    joined = "; ".join(texts)[:300]
    cleaned = "".join(letter if letter.isprintable() else " " for letter in joined)
    return f" ({cleaned})" if cleaned else ""


def _seconds(text: str) -> float | None:
    """Retry-After (RFC 9110, 10.2.3): seconds, or a date."""
    if text.isascii() and text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
