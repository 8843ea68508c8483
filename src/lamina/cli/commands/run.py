"""`lamina run`: a command in a container made from an image of the local store."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.run_request import run_request
from lamina.cli.values import Values
from lamina.errors import UsageError


def command() -> click.Command:
    return Command(
        "run",
        params=[*_several(), *_single(), *_switches(), click.Argument(["image"], nargs=-1)],
        run=run,
        usage="[FLAGS] IMAGE [COMMAND…]",
        intermixed=False,
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    request = run_request(values, session.environ, cwd=session.cwd)
    if request.terminal and not session.stdin.isatty():
        raise UsageError("standard input is no terminal", hint="leave out -t")
    from lamina.control.run import run_container
    from lamina.ui.pulls import PullProgress

    progress = PullProgress(session.stderr)
    try:
        return run_container(
            request, root=session.root, environ=session.environ, watchers=(progress,)
        )
    finally:
        progress.close()


def _several() -> list[click.Parameter]:
    return [
        click.Option([*names], metavar=metavar, multiple=True, help=text)
        for names, metavar, text in (
            (("-v", "--volume"), "SRC:DST[:ro]", "Mount a file or directory of this machine"),
            (("--mount",), "MOUNT", "type=bind,src=SRC,dst=DST[,ro] or type=tmpfs,dst=DST"),
            (("-e", "--env"), "NAME[=VALUE]", "Set a variable, by default to its value here"),
            (("--add-host",), "HOST:IP", "Add a line to /etc/hosts"),
            (("--ulimit",), "NAME=LIMIT", "A resource limit: nofile=1024[:2048]"),
        )
    ]


def _single() -> list[click.Parameter]:
    return [
        click.Option([*names], metavar=metavar, help=text)
        for names, metavar, text in (
            (("-w", "--workdir"), "DIR", "Working directory"),
            (("-u", "--user"), "USER[:GROUP]", "User by name or number"),
            (("-h", "--hostname"), "NAME", "Name of the host"),
            (("--entrypoint",), "PROGRAM", "Run this instead of the image's entry point"),
            (("--network",), "MODE", "default, none or host"),
            (("--shm-size",), "SIZE", "Size of /dev/shm"),
            (("--isolation",), "DRIVER", "default, namespaces or oci (crun, runc)"),
        )
    ]


def _switches() -> list[click.Parameter]:
    return [
        click.Option(["-i", "--interactive"], is_flag=True, help="Pass on standard input"),
        click.Option(["-t", "--tty"], is_flag=True, help="Give it a terminal"),
        click.Option(["--read-only"], is_flag=True, help="Keep the image's files as they are"),
        click.Option(["--rm"], is_flag=True, expose_value=False, help="What happens anyway"),
    ]
