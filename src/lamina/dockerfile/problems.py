"""What can be wrong with a Dockerfile or an ignore file, as this room sees it."""

from __future__ import annotations

from lamina.errors import UserError
from lamina.source import Span


class DockerfileSyntaxError(UserError):
    """The text cannot be split into instructions: a heredoc that does not end, a bad directive."""


class InstructionError(UserError):
    """One instruction is wrong.

    `reason` is the bare sentence; `message` also says on which line of the file it stands, when
    the instruction was read as a part of a whole file.
    """

    def __init__(self, reason: str, *, span: Span | None = None, hint: str | None = None) -> None:
        super().__init__(reason, span=span, hint=hint)
        self.reason = reason

    def placed(self, span: Span) -> InstructionError:
        """The same error, as one of a whole file: with its place, and its line in the message."""
        placed = type(self)(self.reason, span=self.span or span, hint=self.hint)
        placed.message = f"dockerfile parse error on line {span.line}: {self.reason}"
        placed.args = (placed.message,)
        return placed


class UnknownInstruction(InstructionError):
    """The first word of the line is no instruction."""


class UnknownFlag(InstructionError):
    """The instruction does not know this flag."""


class MountError(InstructionError):
    """An option of `RUN --mount` or `RUN --device` is wrong."""


class ExpansionError(UserError):
    """A `$` form in a word is malformed, or a variable that `?` demands is not set."""


class IgnoreFileError(UserError):
    """A pattern of an ignore file is malformed. `line` is its line, from 1, where it has one."""

    def __init__(self, message: str, *, line: int | None = None, span: Span | None = None) -> None:
        super().__init__(message, span=span)
        self.line = line


class GitReferenceError(UserError):
    """A text that should name a git repository does not, or a query in it is wrong.

    `is_git` tells whether the text is a git reference at all.
    """

    def __init__(self, message: str, *, is_git: bool) -> None:
        super().__init__(message)
        self.is_git = is_git
