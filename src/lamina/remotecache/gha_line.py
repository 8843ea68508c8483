"""Requests to the cache service of GitHub Actions, and the patience that one cache has with it.

All requests of a cache share one allowance of waiting: a service that throttles makes a build some
minutes slower at most, however many blobs there are. Addresses may be signed, so no message says
more of one than its host.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec

from lamina.content.errors import WrongDigest
from lamina.errors import RemoteError
from lamina.registry.transport import Transport, read_body

if TYPE_CHECKING:
    import urllib3

_MAX_ANSWER = 64 << 10  # bytes
_FIRST_PAUSE = 1.0  # seconds
_LONGEST_PAUSE = 60.0
_FAILURES = 5
_SUCCESS = range(200, 300)
_T = TypeVar("_T")


class CacheServiceFailed(RemoteError):
    """The cache service did not do what it was asked for. `status` is that of its answer."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, retryable=status >= 500 or status in (408, 429), hint=hint)
        self.status = status
        self.retry_after = retry_after


class Line:
    """Sends the requests of one cache, and waits in between where that helps."""

    def __init__(
        self,
        transport: Transport,
        *,
        address: str,
        allowance: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`allowance` is how many seconds may be waited in all; `address` is for messages."""
        self._transport = transport
        self._allowance = allowance
        self._sleep = sleep
        self.address = address

    def patiently(self, work: Callable[[], _T]) -> _T:
        """Does the work again after failures that may pass, as long as the allowance lasts."""
        failures = 0
        while True:
            try:
                return work()
            except RemoteError as error:
                failures += 1
                hopeless = isinstance(error, WrongDigest) or not error.retryable
                if hopeless or failures >= _FAILURES:
                    raise
                self._wait(error, failures)

    def send(
        self, doing: str, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        """An answer of success, whose body is still to be read."""
        response = self._transport.send(method, url, headers=headers, body=body)
        if response.status in _SUCCESS:
            return response
        words = _words(read_body(response, url=url, limit=_MAX_ANSWER))
        wait = _retry_after(response.headers.get("Retry-After", ""))
        hint = None
        if response.status in (401, 403):
            hint = "a job's token is good for some hours, and that of a fork only for reading"
        raise CacheServiceFailed(
            f"{self.address}: {doing}: {urlsplit(url).hostname} answers with status"
            f" {response.status}{words}",
            status=response.status,
            retry_after=wait,
            hint=hint,
        )

    def ask(
        self,
        doing: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = _MAX_ANSWER,
    ) -> bytes:
        """The body of a small answer, at most `limit` bytes of it."""

        def once() -> bytes:
            response = self.send(doing, method, url, headers=headers, body=body)
            return read_body(response, url=url, limit=limit)

        return self.patiently(once)

    def _wait(self, error: RemoteError, failures: int) -> None:
        pause = _FIRST_PAUSE * 2 ** (failures - 1) * random.uniform(0.5, 1.0)
        if isinstance(error, CacheServiceFailed) and error.retry_after is not None:
            pause = error.retry_after
        if pause > min(self._allowance, _LONGEST_PAUSE):
            raise error
        self._allowance -= pause
        self._sleep(pause)


def _words(body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"), type=_Problem)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""
    words = clean(problem.msg or problem.message)
    return f" ({words})" if words else ""


def clean(text: str) -> str:
    """Words of the service that can be shown."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:300])


def _retry_after(text: str) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    if text.isascii() and text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


class _Problem(msgspec.Struct):
    msg: str = ""
    message: str = ""
