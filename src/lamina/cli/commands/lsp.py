"""`lamina lsp`: a language server for editors, on standard input and output."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session


def command() -> click.Command:
    return Command(
        "lsp",
        params=[click.Option(["--stdio"], is_flag=True, help="The default; editors give it")],
        run=run,
        usage="[FLAGS]",
        epilog="Shows what lamina check finds while a Dockerfile is edited, with its fixes as "
        "code actions.",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    from lamina.cli.language_server import serve

    # The server closes what it is given at its end.
    stdin, stdout = os.dup(session.stdin.fileno()), os.dup(session.stdout.fileno())
    with open(stdin, "rb") as source, open(stdout, "wb") as sink:
        serve(source, sink)
    return 0
