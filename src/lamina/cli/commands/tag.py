"""`lamina tag`: one more name for an image."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import UsageError


def command() -> click.Command:
    return Command(
        "tag",
        params=[click.Argument(["names"], nargs=-1, metavar="IMAGE NAME[:TAG]")],
        run=run,
        usage="[FLAGS] IMAGE NAME[:TAG]",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    names = Values(flags).texts("names")
    if len(names) != 2:
        raise UsageError("an image and its new name are needed", hint="lamina tag IMAGE NAME:TAG")
    from lamina.control.tag import tag_image

    tag_image(names[0], names[1], session.root)
    return 0
