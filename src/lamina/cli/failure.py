"""Exceptions that nobody expected, as errors: the machine's, or our bug with its traceback."""

from __future__ import annotations

import errno
import os
import traceback

from lamina import __version__
from lamina.cli.command import Session
from lamina.errors import HostError, InternalError, LaminaError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_HOST = frozenset(
    {errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EAGAIN, errno.ENODEV}
)


def as_lamina_error(error: Exception, session: Session) -> LaminaError:
    """The error itself where it is one of ours."""
    match error:
        case LaminaError():
            cause = error.__cause__
            if error.hint is None and isinstance(cause, OSError) and cause.errno in _FULL:
                error.hint = _room(session)
            return error
        case MemoryError():
            return HostError("out of memory", hint="fewer steps at once: --jobs 1")
        case OSError(errno=number) if number in _FULL:
            return HostError(f"no space left on device{_place(error)}", hint=_room(session))
        case OSError(errno=number) if number in _HOST:
            return HostError(f"{error.strerror}{_place(error)}")
        case _:
            return _internal(error, session)


def _room(session: Session) -> str:
    return (
        f"make room (lamina cache prune), or put the store elsewhere with --root "
        f"(it is {session.root})"
    )


def _place(error: OSError) -> str:
    name = error.filename
    return f": {os.fsdecode(name)}" if isinstance(name, str | bytes) else ""


def _internal(error: Exception, session: Session) -> InternalError:
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    try:
        path = _written(error, session)
    except OSError:
        hint = "run it again with --debug to see the traceback"
    else:
        hint = f"this is a bug in lamina; the traceback is in {path}"
    return InternalError(f"internal error: {what}", hint=hint)


def _written(error: Exception, session: Session) -> str:
    """The path of a new file with the traceback: among the store's logs, else a temporary one."""
    text = f"lamina {__version__}\n" + "".join(traceback.format_exception(error))
    folder: str | None = os.path.join(session.root, "logs")
    try:
        os.makedirs(os.path.join(session.root, "logs"), exist_ok=True)
    except OSError:
        folder = None
    if folder is not None and not os.access(folder, os.W_OK):
        folder = None
    import tempfile

    number, path = tempfile.mkstemp(prefix="lamina-crash-", suffix=".txt", dir=folder)
    with open(number, "w", errors="backslashreplace") as file:
        file.write(text)
    return path
