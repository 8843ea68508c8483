"""`lamina history`: the builds that were made here, and what is known of each."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click
import msgspec

from lamina.cli.command import Command, Group, Session
from lamina.cli.values import Values
from lamina.errors import UsageError, UserError
from lamina.ui.printable import encode

_CHUNK = 1 << 20


def command() -> click.Command:
    listing = Command(
        "ls",
        params=[_json(), click.Option(["-q", "--quiet"], is_flag=True, help="Print ids only")],
        run=list_builds,
        usage="[FLAGS]",
        summary="List the builds, newest first",
    )
    return _Group(
        "history",
        commands=[
            listing,
            Command(
                "show",
                params=[_build(), _json()],
                run=show,
                usage="[FLAGS] [BUILD]",
                summary="Show a build: its steps, times, sizes and reasons",
            ),
            Command(
                "logs",
                params=[_build(), click.Argument(["step"], required=False), _json()],
                run=logs,
                usage="[FLAGS] [BUILD] [STEP]",
                summary="Show what the steps of a build printed",
            ),
            Command(
                "diff",
                params=[
                    click.Argument(["before"], required=False),
                    click.Argument(["after"], required=False),
                    _json(),
                ],
                run=diff,
                usage="[FLAGS] [BUILD] [BUILD]",
                summary="Set two builds side by side (default: the last two)",
            ),
            Command(
                "rm",
                params=[
                    click.Argument(["builds"], nargs=-1, metavar="BUILD..."),
                    click.Option(["-a", "--all"], is_flag=True, help="Every build"),
                    _json(),
                ],
                run=remove,
                usage="[FLAGS] BUILD...",
                summary="Forget builds; the cache stays as it is",
            ),
            Command(
                "export",
                params=[
                    _build(),
                    click.Option(["-o", "--output"], metavar="FILE", help="The file to write"),
                    _json(),
                ],
                run=export,
                usage="-o FILE [BUILD]",
                summary="Write a build's record to a file, to be explained elsewhere",
            ),
            Command(
                "import",
                params=[click.Argument(["file"], metavar="FILE"), _json()],
                run=import_,
                usage="FILE",
                summary="Take in the record of a build that was exported",
            ),
        ],
    )


class _Group(Group):
    """`lamina history` alone lists the builds."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] in ("--json", "-q", "--quiet")):
            args = ["ls", *args]
        return super().parse_args(ctx, args)


def _json() -> click.Option:
    return click.Option(["--json"], is_flag=True, help="Print JSON")


def _build() -> click.Argument:
    return click.Argument(["build"], required=False)


def list_builds(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.history import History
    from lamina.ui.history import render_builds, summary_json

    records = History.of(session.root).records()
    if values.is_set("quiet"):
        session.stdout.write("".join(f"{record.build}\n" for record in records).encode())
    elif values.is_set("json"):
        session.stdout.writelines(
            msgspec.json.encode(summary_json(record)) + b"\n" for record in records
        )
    else:
        session.stdout.write(encode(render_builds(list(records), now=time.time())))
    return 0


def show(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.history import History, recorded_steps
    from lamina.control.recording.sizes import sizes_of
    from lamina.ui.history import build_json, render_build

    record = History.of(session.root).find(values.text("build"))
    steps, sizes = recorded_steps(record), sizes_of(session.root, record)
    if values.is_set("json"):
        session.stdout.write(msgspec.json.encode(build_json(record, steps, sizes)) + b"\n")
    else:
        session.stdout.write(encode(render_build(record, steps, sizes, now=time.time())))
    return 0


def logs(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.history import History, find_step, recorded_steps

    history = History.of(session.root)
    record = history.find(values.text("build"))
    steps = recorded_steps(record)
    wanted = list(steps)
    if name := values.text("step"):
        wanted = [find_step(steps, name, build=record.build).number]
    for number in wanted:
        try:
            file = open(history.path(record.build, f"{number}.log"), "rb")  # noqa: SIM115
        except FileNotFoundError:
            if name:
                raise UserError(
                    f"step {name} of build {record.build[:12]} printed nothing: it did not run"
                ) from None
            continue
        with file:
            if values.is_set("json"):
                text = file.read().decode("utf-8", "replace")
                line = {"step": number, "name": steps[number].name, "log": text}
                session.stdout.write(msgspec.json.encode(line) + b"\n")
                continue
            chunk = file.read(_CHUNK)
            if len(wanted) > 1 and chunk:
                session.stdout.write(encode(f"==> {steps[number].name} <==\n"))
            while chunk:
                session.stdout.write(chunk)
                chunk = file.read(_CHUNK)
    return 0


def diff(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.recording.difference import diff_builds
    from lamina.ui.history import render_pair

    before, after = values.text("before"), values.text("after")
    pair = diff_builds(session.root, before or "^1", after or "latest")
    if values.is_set("json"):
        session.stdout.write(msgspec.json.encode(pair) + b"\n")
    else:
        session.stdout.write(encode(render_pair(pair)))
    return 0


def remove(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.history import History

    history, names = History.of(session.root), values.texts("builds")
    if values.is_set("all") == bool(names):
        raise UsageError("name the builds, or all of them with --all")
    builds = [history.find(name).build for name in names]
    if values.is_set("all"):
        builds = [head.build for head in history.heads]
    history.remove(builds)
    _say(session, values, [{"removed": build} for build in builds])
    return 0


def export(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    path = values.text("output")
    if not path:
        raise UsageError("the file is missing", hint="lamina history export -o FILE [BUILD]")
    from lamina.control.recording.transfer import export_build

    build = export_build(session.root, values.text("build"), path)
    _say(session, values, [{"exported": build, "file": path}])
    return 0


def import_(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.recording.transfer import import_build

    _say(session, values, [{"imported": import_build(session.root, values.text("file"))}])
    return 0


def _say(session: Session, values: Values, said: list[dict[str, str]]) -> None:
    for item in said:
        if values.is_set("json"):
            session.stdout.write(msgspec.json.encode(item) + b"\n")
        else:
            (verb, build), *_ = item.items()
            session.stdout.write(f"{verb} {build[:12]}\n".encode())
