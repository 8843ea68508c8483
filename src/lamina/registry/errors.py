"""What a registry can answer, or not. The names are stable."""

from __future__ import annotations

from lamina.errors import RemoteError


class Unauthorized(RemoteError):
    """The registry wants a login, or another one, or says no. `registry` is its name."""

    def __init__(self, message: str, *, registry: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.registry = registry


class Unreachable(RemoteError):
    """No answer: DNS, refused or broken connections, TLS, time-outs. `host` is who did not answer.

    `cause` is a part of a sentence. `connected` says that there was a connection, at least.
    """

    def __init__(
        self,
        message: str,
        *,
        host: str,
        cause: str,
        retryable: bool = True,
        connected: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, retryable=retryable, hint=hint)
        self.host = host
        self.cause = cause
        self.connected = connected


class TooManyRequests(RemoteError):
    """The registry limits how often it may be asked. `retry_after` is in seconds, if it said so."""

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message, retryable=True, hint="log in to the registry, or try again later")
        self.retry_after = retry_after


class ServerFailed(RemoteError):
    """The registry answers, but with a failure of its own (5xx), or with what makes no sense.

    `status` is that of an answer to the request itself. `retry_after` is in seconds, if it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, retryable=retryable)
        self.status = status
        self.retry_after = retry_after
