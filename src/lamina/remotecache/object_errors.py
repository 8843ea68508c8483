"""What obstore's errors mean, said with the address and the cause, and without credentials.

Its messages hold the requests' addresses, which may be signed, and the answers' whole bodies. Only
what is known to be harmless is taken over: the status, and the code and words of the store
(S3's, Google's and Azure's answers are alike: `<Error><Code>…</Code><Message>…</Message>`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lamina.content.errors import NotFound
from lamina.errors import RemoteError

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9._-]{1,60})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_SYSTEM = re.compile(r'message: "([^"]{1,120})"')
_HTTP = re.compile(r"HTTP error: ([^\n]{1,200})")
_ADDRESS = re.compile(r"\w+://\S+")
_MACHINE_ROLES = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


class ObjectStoreFailed(RemoteError):
    """An object store did not do what it was asked for. `status` is that of its answer."""

    def __init__(
        self, message: str, *, status: int | None, retryable: bool, hint: str | None
    ) -> None:
        super().__init__(message, retryable=retryable, hint=hint)
        self.status = status


def has_no_bucket(error: Exception) -> bool:
    """Whether something is not found because there is not even a place for it."""
    return any(sign in str(error) for sign in _NO_BUCKET)


def missing(*, address: str, what: str) -> NotFound:
    return NotFound(f"{address}: {what} is not there")


def store_failure(
    error: Exception, *, doing: str, address: str, secrets: Iterable[str]
) -> ObjectStoreFailed:
    """`doing` is a part of a sentence: what the store was asked for."""
    text = str(error)
    found = _STATUS.search(text)
    status = int(found[1]) if found else None
    lacks_credentials = any(place in text for place in _MACHINE_ROLES)
    cause = "there are no credentials" if lacks_credentials else _cause(text, status)
    for secret in filter(None, secrets):
        cause = cause.replace(secret, "***")
    refused = type(error).__name__ in ("UnauthenticatedError", "PermissionDeniedError")
    unauthorized = lacks_credentials or refused or status in (401, 403)
    hint = None
    if has_no_bucket(error):
        hint = "create it, or check its name and its region"
    elif unauthorized:
        hint = "check the credentials of the cache, in its attributes or in the environment"
    return ObjectStoreFailed(
        f"{address}: {doing} failed: {cause}",
        status=status,
        retryable=status is None or status >= 500 or status in (408, 429),
        hint=hint,
    )


def _cause(text: str, status: int | None) -> str:
    summary, _, debug = text.partition("\n\nDebug source")
    if status is not None:
        code, message = _CODE.search(summary), _MESSAGE.search(summary)
        words = ": ".join(each[1].strip() for each in (code, message) if each)
        return _clean(f"the store answers with status {status}" + (f" ({words})" if words else ""))
    system = _SYSTEM.search(debug)
    if system:
        return _clean(system[1].lower())
    if "timed out" in debug or "TimedOut" in debug:
        return "no answer within the time limit"
    http = _HTTP.search(summary)
    return _clean(http[1] if http else summary.rpartition(" - ")[2])


def _clean(text: str) -> str:
    shown = _ADDRESS.sub("…", " ".join(text.split()))[:300]
    return "".join(letter if letter.isprintable() else " " for letter in shown)
