"""Choosing how a build's progress is shown (`--progress`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO, Literal, Protocol, get_args

from lamina.trace.events import Event

Mode = Literal["auto", "tty", "plain", "rawjson", "quiet", "none"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Progress(Protocol):
    """A watcher that is closed once at the end, however the build ends."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


def open_progress(mode: Mode, *, stderr: BinaryIO, environ: Mapping[str, str]) -> Progress:
    """The view that `mode` names, written to `stderr`.

    `auto` is `tty` on a terminal that can move its cursor, else `plain`; so is `tty` itself where
    there is no terminal.
    """
    match mode:
        case "auto" | "tty":
            if stderr.isatty() and environ.get("TERM", "") not in ("", "dumb"):
                from lamina.ui.tty import TerminalProgress

                return TerminalProgress(stderr, environ=environ)
            return _plain(stderr)
        case "plain":
            return _plain(stderr)
        case "rawjson":
            from lamina.ui.rawjson import RawJsonProgress

            return RawJsonProgress(stderr)
        case "quiet" | "none":
            from lamina.ui.quiet import QuietProgress

            return QuietProgress(stderr)


def _plain(stderr: BinaryIO) -> Progress:
    from lamina.ui.plain import PlainProgress

    return PlainProgress(stderr)
