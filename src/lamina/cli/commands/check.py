"""`lamina check`: what could be better in Dockerfiles."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.key_values import choose
from lamina.cli.values import Values

FOUND = 1
FORMATS = ("text", "json", "sarif", "github")


def command() -> click.Command:
    return Command(
        "check",
        params=[
            click.Argument(["paths"], nargs=-1, metavar="[PATH...]"),
            click.Option(
                ["--format"], metavar="FORMAT", help="text (default), json, sarif, github"
            ),
            click.Option(
                ["--rule"], multiple=True, metavar="NAME", help="Only this rule; may be repeated"
            ),
            click.Option(
                ["--context"],
                metavar="DIR",
                help="The build context (default: the Dockerfile's folder)",
            ),
            click.Option(["--exit-zero"], is_flag=True, help="Exit with 0 whatever is found"),
        ],
        run=run,
        usage="[FLAGS] [PATH...]",
        epilog="PATH is a Dockerfile, or a folder in which all are looked for (default: .).",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    form = choose("--format", values.text("format") or "text", FORMATS, what="format")
    from lamina import __version__
    from lamina.control.check import check, known_rules
    from lamina.ui import findings as ui
    from lamina.ui.printable import encode

    rules = {rule.name: rule for rule in known_rules()}
    reports = [
        checked.report
        for checked in check(
            values.texts("paths"), rules=values.texts("rule"), context=values.given("context")
        )
    ]
    match form:
        case "json":
            out = ui.render_json(reports, rules)
        case "sarif":
            out = ui.render_sarif(reports, rules, version=__version__)
        case "github":
            out = encode(ui.render_github(reports, rules))
        case _:
            out = encode(ui.render_text(reports, rules))
    session.stdout.write(out)
    clean = not any(report.findings or report.error or report.failed for report in reports)
    return 0 if clean or values.is_set("exit_zero") else FOUND
