"""`lamina context`: what goes to a build, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from lamina.cli.build_request import build_arguments
from lamina.cli.command import Command, Group, Session
from lamina.cli.values import Values
from lamina.control.request import BuildRequest

if TYPE_CHECKING:
    from lamina.context.survey import Survey


def command() -> click.Command:
    return Group(
        "context",
        commands=[
            Command(
                "ls",
                params=[
                    *_shared(),
                    click.Option(
                        ["-l", "--long"], is_flag=True, help="Also sizes and who takes it"
                    ),
                    click.Option(["--unused"], is_flag=True, help="Only what no COPY or ADD takes"),
                    click.Option(["--ignored"], is_flag=True, help="What is kept out, and by whom"),
                    click.Option(["--json"], is_flag=True, help="Print JSON, an object a line"),
                ],
                run=list_files,
                usage="[FLAGS]",
                summary="List the files that go to the build",
            ),
            Command(
                "why",
                params=[
                    click.Argument(["paths"], nargs=-1, required=True, metavar="PATH..."),
                    *_shared(),
                ],
                run=why,
                usage="[FLAGS] PATH...",
                summary="Say which rule keeps a path in or out, and who takes it",
            ),
            Command(
                "du",
                params=[
                    *_shared(),
                    click.Option(
                        ["-n", "--number"], type=int, default=20, help="How many (default: 20)"
                    ),
                ],
                run=sizes,
                usage="[FLAGS]",
                summary="Show the largest files and folders, and what could be ignored",
            ),
        ],
    )


def _shared() -> list[click.Parameter]:
    return [
        click.Option(["-C", "--context"], metavar="DIR", help="The build context (default: .)"),
        click.Option(["-f", "--file"], metavar="FILE", help="The Dockerfile"),
        click.Option(["--build-arg"], multiple=True, metavar="NAME[=VALUE]", help="As of a build"),
    ]


def list_files(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.ui import context as ui

    found = _survey(_request(values, session), session)
    json = values.is_set("json")
    if values.is_set("ignored"):
        text = ui.render_hidden(found, json=json)
    else:
        unused, long = values.is_set("unused"), values.is_set("long")
        text = ui.render_files(found, unused=unused, long=long, json=json)
    session.stdout.write(ui.for_terminal(text) if session.stdout.isatty() else text)
    session.stderr.write(ui.render_missing(found))
    return 0


def why(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.context import why_path
    from lamina.ui.context import render_why

    request = _request(values, session)
    found = _survey(request, session)
    for path in values.texts("paths"):
        session.stdout.write(render_why(why_path(found, path, directory=request.context)))
    return 0


def sizes(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.advisor.ignorable import ignorable
    from lamina.ui.context import render_sizes

    found = _survey(_request(values, session), session)
    text = render_sizes(found, ignorable(found), number=values.number("number"))
    session.stdout.write(text)
    return 0


def _survey(request: BuildRequest, session: Session) -> Survey:
    from lamina.control.context import survey_context

    return survey_context(request, root=session.root, stdin=session.stdin, environ=session.environ)


def _request(values: Values, session: Session) -> BuildRequest:
    return BuildRequest(
        context=values.text("context") or ".",
        dockerfile=values.given("file"),
        build_args=build_arguments(values.texts("build_arg"), session.environ),
    )
