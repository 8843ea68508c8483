"""`lamina build`: the flags and their meaning are those of `docker buildx build`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from lamina.cli.build_flags import build_options
from lamina.cli.build_request import build_request, check_files, progress_mode, writes_to_stdout
from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.control.request import BuildOutcome, BuildRequest
from lamina.errors import HostError, UsageError
from lamina.ui.progress import Mode, open_progress
from lamina.ui.sink import Sink

if TYPE_CHECKING:
    from lamina.control.building.failure import ShellNotice


def command() -> click.Command:
    return Command(
        "build",
        params=build_options(),
        run=run,
        usage="[FLAGS] PATH | URL | -",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    mode = progress_mode(values, session.environ)
    request = build_request(values, session.environ, machine=os.uname().machine)
    if values.is_set("check") or any(values.texts("call")):
        from lamina.cli.calls import parse_call, run_call

        call = parse_call(values)
        if call.method != "build":
            return run_call(call, request, session, mode)
    check_files(request)
    if request.on_error is not None:
        from lamina.cli.step_flags import check_on_error

        terminal = session.stdin.isatty() and session.stdout.isatty()
        check_on_error(request.on_error, terminal=terminal)
    if writes_to_stdout(request) and session.stdout.isatty():
        raise UsageError(
            "an archive cannot be written to a terminal", hint="add dest=FILE to --output, or pipe"
        )
    _forget(request.iidfile)
    outcome = build(request, session, mode)
    if mode == "quiet" and not writes_to_stdout(request):
        session.stdout.write(f"{outcome.image_id or outcome.digest or ''}\n".encode())
    return 0


def build(request: BuildRequest, session: Session, mode: Mode) -> BuildOutcome:
    """Run the build under its progress."""
    from lamina.control.build import run_build

    progress = open_progress(mode, stderr=session.stderr, environ=session.environ)
    ended = contextlib.ExitStack()
    ended.callback(progress.close)

    def opening(notice: ShellNotice) -> None:
        ended.close()
        _tell(notice, session)

    with ended:
        return run_build(
            request,
            root=session.root,
            watchers=(progress,),
            environ=session.environ,
            stdin=session.stdin,
            stdout=session.stdout,
            opening=opening,
        )


def _tell(notice: ShellNotice, session: Session) -> None:
    """What stands above the shell in a failed step."""
    from lamina.control.building.failure import COMMAND
    from lamina.ui.failed_step import render_shell_notice

    text = render_shell_notice(
        notice.error,
        shell=notice.shell,
        command=COMMAND,
        emptied=notice.emptied,
        shared=notice.shared,
        color=not session.environ.get("NO_COLOR"),
    )
    Sink(session.stderr).text(text)


def _forget(iidfile: str | None) -> None:
    """A build that fails leaves no ID of an earlier one behind."""
    if iidfile is None:
        return
    try:
        os.unlink(iidfile)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"cannot replace {iidfile}: {error.strerror}") from None
