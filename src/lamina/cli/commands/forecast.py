"""`lamina forecast`: what the cache would have done over the history of a repository."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import click

from lamina.cli.build_request import build_arguments
from lamina.cli.command import Command, Session
from lamina.cli.flag_values import parse_named_context
from lamina.cli.values import Values
from lamina.control.forecast import ForecastRequest
from lamina.control.request import BuildRequest
from lamina.errors import UsageError, UserError
from lamina.trace.recorder import Watcher

COMMITS = 200


def command() -> click.Command:
    return Command(
        "forecast",
        params=[
            click.Option(
                ["-n", "--commits"],
                type=int,
                default=COMMITS,
                help=f"How many of the last commits to replay (default: {COMMITS})",
            ),
            click.Option(["--fix"], is_flag=True, help="Compare with the Dockerfile after the fix"),
            click.Option(["--unsafe"], is_flag=True, help="With --fix: as of lamina fix"),
            click.Option(["--dockerfile"], metavar="OTHER", help="Compare with another Dockerfile"),
            click.Option(["-f", "--file"], metavar="FILE", help="The Dockerfile"),
            click.Option(["-C", "--context"], metavar="DIR", help="The build context (default: .)"),
            click.Option(
                ["--build-arg"], multiple=True, metavar="NAME[=VALUE]", help="As of a build"
            ),
            click.Option(
                ["--build-context"], multiple=True, metavar="NAME=PLACE", help="As of a build"
            ),
            click.Option(["--target"], metavar="STAGE", help="As of a build"),
            click.Option(
                ["--calibrate"],
                is_flag=True,
                help="Build what lies in the context first, to learn how long its steps take",
            ),
            click.Option(["--json"], is_flag=True, help="Print JSON"),
            click.Option(["--svg"], metavar="FILE", help="Also write a chart"),
        ],
        run=run,
        usage="[FLAGS]",
        epilog="Without --fix and --dockerfile each commit is built with its own Dockerfile; with "
        "them, every commit is built with today's, and again with the other one.",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    request = _request(values, session)
    from lamina.control.forecast import forecast
    from lamina.ui.forecast import render_forecast, render_json
    from lamina.ui.printable import encode
    from lamina.ui.progress import open_progress

    @contextlib.contextmanager
    def watch() -> Iterator[Watcher]:
        progress = open_progress("auto", stderr=session.stderr, environ=session.environ)
        with contextlib.closing(progress):
            yield progress

    found = forecast(
        request,
        root=session.root,
        environ=session.environ,
        stdin=session.stdin,
        watch=watch,
    )
    chart = values.given("svg")
    if chart is not None:
        from lamina.ui.forecast_chart import render_chart

        _write(chart, encode(render_chart(found)), session)
    if values.is_set("json"):
        session.stdout.write(render_json(found))
    else:
        session.stdout.write(encode(render_forecast(found)))
    return 0


def _request(values: Values, session: Session) -> ForecastRequest:
    commits = values.number("commits")
    if commits < 1:
        raise UsageError(f"--commits {commits}: at least 1")
    other = values.given("dockerfile")
    if values.is_set("fix") and other is not None:
        raise UsageError("--fix and --dockerfile exclude each other")
    if values.is_set("unsafe") and not values.is_set("fix"):
        raise UsageError("--unsafe is for --fix")
    return ForecastRequest(
        build=BuildRequest(
            context=values.text("context") or ".",
            dockerfile=values.given("file"),
            target=values.text("target"),
            build_args=build_arguments(values.texts("build_arg"), session.environ),
            named_contexts=dict(map(parse_named_context, values.texts("build_context"))),
        ),
        commits=commits,
        fix=values.is_set("fix"),
        unsafe=values.is_set("unsafe"),
        other=other,
        calibrate=values.is_set("calibrate"),
    )


def _write(path: str, data: bytes, session: Session) -> None:
    if path == "-":
        session.stdout.write(data)
        return
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
