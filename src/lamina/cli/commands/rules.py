"""`lamina rules`: what `lamina check` looks for."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from lamina.cli.command import Command, Group, Session
from lamina.cli.values import Values
from lamina.errors import HostError


def command() -> click.Command:
    return Group(
        "rules",
        commands=[
            Command("ls", params=[], run=list_rules, usage="", summary="List the rules"),
            Command(
                "show",
                params=[click.Argument(["names"], nargs=-1, required=True, metavar="NAME...")],
                run=show,
                usage="NAME...",
                summary="Show a rule: why, an example of what is wrong, and of what is right",
            ),
            Command(
                "export",
                params=[click.Argument(["directory"], metavar="DIR")],
                run=export,
                usage="DIR",
                summary="Write every rule as a file of Markdown",
            ),
        ],
    )


def list_rules(session: Session, flags: Mapping[str, object]) -> int:
    from lamina.control.check import known_rules
    from lamina.ui.printable import encode
    from lamina.ui.table import render_table

    rows = [(rule.name, rule.impact, rule.title) for rule in known_rules()]
    session.stdout.write(encode(render_table(("rule", "impact", "title"), rows)))
    return 0


def show(session: Session, flags: Mapping[str, object]) -> int:
    from lamina.control.check import known_rules

    documents = [rule.documentation for rule in known_rules(Values(flags).texts("names"))]
    session.stdout.write("\n".join(documents).encode())
    return 0


def export(session: Session, flags: Mapping[str, object]) -> int:
    from lamina.control.check import known_rules

    directory = Values(flags).text("directory")
    rules = known_rules()
    try:
        os.makedirs(directory, exist_ok=True)
        for rule in rules:
            with open(f"{directory}/{rule.name}.md", "w", encoding="utf-8") as file:
                file.write(rule.documentation)
    except OSError as error:
        raise HostError(f"cannot write the rules to {directory}: {error.strerror}") from None
    session.stdout.write(f"{len(rules)} rules written to {directory}\n".encode())
    return 0
