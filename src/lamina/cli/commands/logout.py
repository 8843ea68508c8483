"""`lamina logout`: forgets the login at a registry."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import UsageError


def command() -> click.Command:
    return Command(
        "logout",
        params=[click.Argument(["registry"], nargs=-1, metavar="[REGISTRY]")],
        run=run,
        usage="[FLAGS] [REGISTRY]",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    addresses = Values(flags).texts("registry")
    if len(addresses) > 1:
        raise UsageError("one registry is needed", hint="lamina logout REGISTRY")
    from lamina.control.login import log_out, registry_domain

    domain = registry_domain(addresses[0] if addresses else "")
    known = log_out(domain, session.environ)
    told = f"Removing login credentials for {domain}" if known else f"Not logged in to {domain}"
    session.stdout.write(f"{told}\n".encode())
    return 0
