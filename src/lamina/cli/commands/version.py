"""`lamina version`."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina import __version__
from lamina.cli.command import Command, Session


def command() -> click.Command:
    return Command("version", params=[], run=run, usage="")


def run(session: Session, flags: Mapping[str, object]) -> int:
    session.stdout.write(f"lamina {__version__}\n".encode())
    return 0
