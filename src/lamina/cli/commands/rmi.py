"""`lamina rmi`: removes names, and the images that have no other."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import LaminaError, UsageError


def command() -> click.Command:
    return Command(
        "rmi",
        params=[
            click.Option(["-f", "--force"], is_flag=True, help="Say nothing of missing images"),
            click.Argument(["images"], nargs=-1),
        ],
        run=run,
        usage="[FLAGS] IMAGE…",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    """All of them are tried; the first error is the command's."""
    values = Values(flags)
    names = values.texts("images")
    if not names:
        raise UsageError("the image is missing", hint="lamina rmi IMAGE…")
    from lamina.control.images import remove_image
    from lamina.ui.render_error import render_error

    failed: LaminaError | None = None
    for name in names:
        try:
            removed = remove_image(name, session.root)
        except LaminaError as error:
            if values.is_set("force") and error.exit_code == 1:
                continue
            if failed is not None:
                session.stderr.write(render_error(failed).encode())
            failed = error
        else:
            session.stdout.write("".join(f"{line}\n" for line in removed).encode())
    if failed is not None:
        raise failed
    return 0
