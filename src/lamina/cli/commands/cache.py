"""`lamina cache`: what caches hold, and what is cleared away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from lamina.cli.command import Command, Group, Session
from lamina.cli.values import Values
from lamina.errors import UsageError
from lamina.ui.quantities import render_bytes

if TYPE_CHECKING:
    from lamina.control.cacheprune import PruneReport
    from lamina.remotecache.pruning import PruneLimits

_DAY = 24 * 3600.0


def command() -> click.Command:
    return Group("cache", commands=[_du(), _prune()])


def _du() -> Command:
    return Command(
        "du",
        params=[
            click.Option(
                ["-v", "--verbose"], is_flag=True, help="Also every layer, blob and mount"
            ),
            click.Option(["--json"], is_flag=True, help="Print JSON"),
        ],
        run=disk_use,
        usage="[FLAGS]",
        summary="Show what the store takes on disk, by kind",
    )


def _prune() -> Command:
    return Command(
        "prune",
        params=[
            click.Option(
                ["--remote"],
                metavar="CACHE",
                help="A cache in another place, as for --cache-to: type=registry,ref=NAME:TAG",
            ),
            click.Option(
                ["--max-size", "--keep", "max_size"],
                metavar="SIZE",
                help="Keep at most this much (20GB)",
            ),
            click.Option(
                ["--keep-days"], metavar="DAYS", help="Keep what was of use in the last days"
            ),
            click.Option(
                ["-a", "--all"],
                is_flag=True,
                help="Also what images in the local store need; without limits, everything",
            ),
            click.Option(["--dry-run"], is_flag=True, help="Only say what would go"),
            click.Option(
                ["-f", "--force"], is_flag=True, help="As in Docker's prune: here nobody is asked"
            ),
            click.Option(["--json"], is_flag=True, help="Print JSON"),
        ],
        run=prune,
        usage="[FLAGS]",
        summary="Remove what nobody uses any more",
    )


def prune(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    remote = values.text("remote")
    if not remote:
        return prune_store(session, values)
    from lamina.cli.cache_values import parse_caches
    from lamina.control.cacheprune import prune_remote

    asked = parse_caches("remote", remote)
    if len(asked) != 1:
        raise UsageError(f"--remote names {len(asked)} caches", hint="prune one after the other")
    report = prune_remote(
        asked[0],
        limits_of(values),
        dry_run=values.is_set("dry_run"),
        root=session.root,
        environ=session.environ,
    )
    text = as_json(report) if values.is_set("json") else as_text(report)
    session.stdout.write(text.encode())
    if not values.is_set("json"):
        session.stderr.write("".join(f"WARNING: {note}\n" for note in report.notes).encode())
    return 0


def prune_store(session: Session, values: Values) -> int:
    from lamina.cache.eviction import Limits
    from lamina.control.prune import PruneRequest
    from lamina.control.prune import prune as run
    from lamina.control.settings import seconds_of, size_of
    from lamina.ui.space import pruned_json, render_pruned

    size, days = values.given("max_size"), values.given("keep_days")
    limits = Limits(
        max_size=None if size is None else size_of(size, "--max-size"),
        keep_seconds=None if days is None else seconds_of(days, "--keep-days"),
    )
    request = PruneRequest(
        limits=limits, everything=values.is_set("all"), dry_run=values.is_set("dry_run")
    )
    pruned = run(request, root=session.root, environ=session.environ)
    render = pruned_json if values.is_set("json") else render_pruned
    session.stdout.write(render(pruned))
    return 0


def disk_use(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    import time

    import msgspec

    from lamina.control.diskuse import disk_usage
    from lamina.ui.space import render_use

    use = disk_usage(session.root, session.environ)
    if values.is_set("json"):
        if not values.is_set("verbose"):
            use = msgspec.structs.replace(use, pieces=())
        session.stdout.write(msgspec.json.encode(use) + b"\n")
        return 0
    pieces = use.pieces if values.is_set("verbose") else ()
    session.stdout.write(
        render_use(
            use.kinds,
            pieces,
            root=use.root,
            total=use.total,
            max_size=use.max_size,
            now=time.time(),
        )
    )
    return 0


def limits_of(values: Values) -> PruneLimits:
    """Raises UsageError for a value that is none, and where no limit is given."""
    from lamina.notation.sizes import parse_size
    from lamina.remotecache.pruning import PruneLimits

    size, days = values.given("max_size"), values.given("keep_days")
    if size is None and days is None:
        raise UsageError("what may stay?", hint="give --max-size 20GB, --keep-days 14, or both")
    try:
        keep_bytes = None if size is None else parse_size(size)
    except ValueError as error:
        raise UsageError(f"--max-size: {error}", hint="--max-size 20GB") from None
    if days is not None and not days.replace(".", "", 1).isdecimal():
        raise UsageError(f"--keep-days: {days!r} is not a number of days", hint="--keep-days 14")
    keep_seconds = None if days is None else float(days) * _DAY
    return PruneLimits(keep_bytes=keep_bytes, keep_seconds=keep_seconds)


def as_text(report: PruneReport) -> str:
    """A sentence a line."""
    go, free = ("would go", "would free") if report.dry_run else ("are gone", "freed")
    gone = f"{report.steps} records and {report.mounts} cache mounts {go}"
    room = f"{free} {render_bytes(report.freed)} in {report.blobs} blobs"
    lines = [
        f"{report.address}: {gone}",
        *(f"document {name}: removed" for name in report.removed),
        *(f"document {name}: rewritten" for name in report.rewritten),
        f"{room}; {render_bytes(report.kept)} stay",
    ]
    if report.left:
        lines.append(
            f"{render_bytes(report.left)} are no longer referred to; the place itself frees them"
            " when it collects garbage"
        )
    return "".join(f"{line}\n" for line in lines)


def as_json(report: PruneReport) -> str:
    import msgspec

    return msgspec.json.encode(report).decode() + "\n"
