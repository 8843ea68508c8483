"""`lamina mounts`: cache mounts, and what is in them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import click
import msgspec

from lamina.cli.command import Command, Group, Session
from lamina.cli.values import Values
from lamina.errors import UsageError


def command() -> click.Command:
    return Group("mounts", commands=[_ls(), _show(), _cp(), _rm(), _prune()])


def _ls() -> Command:
    return Command(
        "ls",
        params=[_json()],
        run=list_all,
        usage="[FLAGS]",
        summary="List the cache mounts: size, last use, and who used them",
    )


def _show() -> Command:
    return Command(
        "show",
        params=[
            click.Argument(["id"], metavar="ID"),
            _platform(),
            click.Option(
                ["-n", "--number"], type=int, default=20, help="How many lines (default: 20)"
            ),
            _json(),
        ],
        run=show,
        usage="[FLAGS] ID",
        summary="Show what is in a cache mount, the largest first",
    )


def _cp() -> Command:
    return Command(
        "cp",
        params=[
            click.Argument(["source"], metavar="SOURCE"),
            click.Argument(["target"], metavar="TARGET"),
            _platform(),
        ],
        run=copy,
        usage="[FLAGS] ID:/PATH TARGET | SOURCE ID:/PATH",
        summary="Copy files out of a cache mount or into it (- is a tar)",
    )


def _rm() -> Command:
    return Command(
        "rm",
        params=[click.Argument(["ids"], nargs=-1, metavar="ID…"), _platform(), _json()],
        run=remove,
        usage="[FLAGS] ID…",
        summary="Remove cache mounts",
    )


def _prune() -> Command:
    return Command(
        "prune",
        params=[
            click.Option(["--max-size"], metavar="SIZE", help="Keep at most this much (20GB)"),
            click.Option(["--keep-days"], metavar="DAYS", help="Keep what was used lately"),
            click.Option(["--dry-run"], is_flag=True, help="Only say what would go"),
            _json(),
        ],
        run=prune,
        usage="[FLAGS]",
        summary="Remove cache mounts that are too large or too old (default: as the settings say)",
    )


def _json() -> click.Option:
    return click.Option(["--json"], is_flag=True, help="Print JSON, an object a line")


def _platform() -> click.Option:
    return click.Option(["--platform"], metavar="PLATFORM", help="Of this platform only")


def list_all(session: Session, flags: Mapping[str, object]) -> int:
    from lamina.control.mounts import list_mounts
    from lamina.ui.mounts import render_mounts

    rows = list_mounts(session.root, session.environ)
    if Values(flags).is_set("json"):
        return _lines(session, rows)
    session.stdout.write(render_mounts(rows, now=time.time()))
    return 0


def show(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.mounts import mount_contents
    from lamina.ui.mounts import render_contents

    number = max(values.number("number"), 0)
    for each, found in mount_contents(session.root, values.text("id"), values.text("platform")):
        if values.is_set("json"):
            _lines(session, found)
            continue
        session.stdout.write(render_contents(each, found, number=number, now=time.time()))
    return 0


def copy(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.control.keeping.mount_copy import copy_files
    from lamina.ui.quantities import render_bytes

    copied = copy_files(
        values.text("source"),
        values.text("target"),
        root=session.root,
        platform=values.text("platform"),
        stdin=session.stdin,
        stdout=session.stdout,
    )
    files = "1 file" if copied.files == 1 else f"{copied.files} files"
    session.stderr.write(f"copied {files}, {render_bytes(copied.size)}\n".encode())
    return 0


def remove(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    names = values.texts("ids")
    if not names:
        raise UsageError("the id is missing", hint="lamina mounts rm ID…; lamina mounts ls")
    from lamina.control.mounts import remove_mounts
    from lamina.ui.mounts import render_gone

    gone = remove_mounts(session.root, names, values.text("platform"))
    if values.is_set("json"):
        return _lines(session, gone)
    session.stdout.write(render_gone(gone, dry_run=False))
    return 0


def prune(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    from lamina.cache.eviction import Limits
    from lamina.control.mounts import prune_mounts
    from lamina.control.settings import seconds_of, size_of
    from lamina.ui.mounts import render_gone

    size, days = values.given("max_size"), values.given("keep_days")
    limits = Limits(
        max_size=None if size is None else size_of(size, "--max-size"),
        keep_seconds=None if days is None else seconds_of(days, "--keep-days"),
    )
    dry_run = values.is_set("dry_run")
    gone = prune_mounts(session.root, limits, session.environ, dry_run=dry_run)
    if values.is_set("json"):
        return _lines(session, gone)
    session.stdout.write(render_gone(gone, dry_run=dry_run))
    return 0


def _lines(session: Session, values: Iterable[object]) -> int:
    session.stdout.writelines(msgspec.json.encode(value) + b"\n" for value in values)
    return 0
