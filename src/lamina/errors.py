"""Every error that Lamina raises on purpose, by whose fault it is.

    LaminaError
    ├── UserError        1  the Dockerfile, the context, the flags
    │   ├── UsageError   2  a flag, or a value of one
    │   └── StepFailed   3  a RUN step ended with a failure
    ├── RemoteError      4  a registry or a web server; `retryable`: trying again may help
    ├── HostError        5  this machine: kernel, disk, permissions, a damaged store
    └── InternalError   70  our bug

The number is the exit code of the command. 130 is an interrupt by the user.
"""

from __future__ import annotations

from typing import ClassVar

from lamina.source import Span


class LaminaError(Exception):
    """What went wrong (`message`), where (`span`), and what to do about it (`hint`).

    `name` is stable: programs may rely on it. It is the class's own name. `word` is the one at
    fault, for whoever knows only which instruction it stands in.
    """

    exit_code: ClassVar[int] = 70
    word: str | None = None

    def __init__(self, message: str, *, span: Span | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def place(self, span: Span | None) -> None:
        """Say where it is: at the error's word within `span`, if there is no better place yet."""
        if self.span is None and span is not None:
            self.span = span if self.word is None else span.narrowed(self.word)

    @property
    def name(self) -> str:
        return type(self).__name__


class UserError(LaminaError):
    """Something is wrong with the Dockerfile, the context or another input."""

    exit_code = 1


class UsageError(UserError):
    """A flag, or a value of one, is wrong."""

    exit_code = 2


class StepFailed(UserError):
    """A RUN step ended with a failure.

    `exit_status` is the exit code of its process, or 128 + the signal that killed it.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        exit_status: int,
        span: Span | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, span=span, hint=hint)
        self.exit_status = exit_status


class RemoteError(LaminaError):
    """A registry or a web server did not give what was asked for."""

    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        span: Span | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, span=span, hint=hint)
        self.retryable = retryable


class HostError(LaminaError):
    """This machine cannot do what is needed: kernel, disk, permissions, a damaged store."""

    exit_code = 5


class InternalError(LaminaError):
    """A bug in Lamina."""

    exit_code = 70
