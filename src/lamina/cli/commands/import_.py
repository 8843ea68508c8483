"""`lamina import`: an archive of a root file system becomes an image of one layer."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import UsageError


def command() -> click.Command:
    return Command(
        "import",
        params=[
            click.Option(
                ["-c", "--change"],
                metavar="INSTRUCTION",
                multiple=True,
                help="Apply an instruction of a Dockerfile to the image (CMD, ENV, USER …)",
            ),
            click.Argument(["arguments"], nargs=-1, metavar="FILE|- NAME"),
        ],
        run=run,
        usage="[FLAGS] FILE|- NAME",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    arguments = values.texts("arguments")
    if len(arguments) != 2:
        raise UsageError("an archive and a name are needed", hint="lamina import rootfs.tar NAME")
    from lamina.control.images import import_image

    path, name = arguments
    image = import_image(path, name, session.root, session.stdin, changes=values.texts("change"))
    session.stdout.write(f"{image}\n".encode())
    return 0
