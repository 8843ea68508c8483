"""`lamina fix`: mends what `lamina check` finds."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import UsageError


def command() -> click.Command:
    return Command(
        "fix",
        params=[
            click.Argument(["paths"], nargs=-1, metavar="[PATH...]"),
            click.Option(["--diff"], is_flag=True, help="Show the changes (the default)"),
            click.Option(["-w", "--write"], is_flag=True, help="Write the changes to the files"),
            click.Option(
                ["--unsafe"],
                is_flag=True,
                help="Also fixes after which the image may differ in more than caches and times",
            ),
            click.Option(
                ["--rule"], multiple=True, metavar="NAME", help="Only this rule; may be repeated"
            ),
            click.Option(
                ["--context"],
                metavar="DIR",
                help="The build context (default: the Dockerfile's folder)",
            ),
        ],
        run=run,
        usage="[FLAGS] [PATH...]",
        epilog="PATH is a Dockerfile, or a folder in which all are looked for (default: .).",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    if values.is_set("diff") and values.is_set("write"):
        raise UsageError("--diff and --write exclude each other")
    from lamina.control.check import fix, write
    from lamina.ui.patch import render_applied, render_patch
    from lamina.ui.printable import encode

    mended = fix(
        values.texts("paths"),
        rules=values.texts("rule"),
        context=values.given("context"),
        unsafe=values.is_set("unsafe"),
    )
    for one in mended:
        if values.is_set("write"):
            write(one)
        else:
            session.stdout.write(render_patch(one.fixed, directory=one.directory))
        session.stderr.write(encode(render_applied(one.name, one.fixed)))
    return 0
