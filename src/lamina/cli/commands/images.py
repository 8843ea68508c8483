"""`lamina images`: what is in the local image store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import click

from lamina.cli.command import Command, Session
from lamina.cli.key_values import choose
from lamina.cli.values import Values
from lamina.control.request import ImageRow
from lamina.ui.quantities import render_age, render_bytes
from lamina.ui.table import render_table

SHORT_ID = 12
NONE = "<none>"


def command() -> click.Command:
    return Command(
        "images",
        params=[
            click.Option(["-q", "--quiet"], is_flag=True, help="Print IDs only"),
            click.Option(["--no-trunc"], is_flag=True, help="Print whole IDs"),
            click.Option(["--format"], metavar="FORMAT", help="table or json (an image a line)"),
        ],
        run=run,
        usage="[FLAGS]",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    form = choose("--format", values.text("format") or "table", ("table", "json"), what="format")
    from lamina.control.images import list_images

    rows = list_images(session.root)
    length = None if values.is_set("no_trunc") else SHORT_ID
    if values.is_set("quiet"):
        ids = dict.fromkeys(short_id(row.image_id, length) for row in rows)
        text = "".join(f"{name}\n" for name in ids)
    elif form == "json":
        text = "".join(f"{line}\n" for line in map(as_json, rows))
    else:
        text = as_table(rows, now=time.time(), length=length)
    session.stdout.write(text.encode())
    return 0


def as_table(rows: Sequence[ImageRow], *, now: float, length: int | None) -> str:
    return render_table(
        ("repository", "tag", "image id", "platform", "created", "size"),
        [
            (
                _repository(row),
                _tag(row),
                short_id(row.image_id, length),
                ", ".join(row.platforms),
                "" if row.created is None else render_age(now - row.created),
                render_bytes(row.size),
            )
            for row in rows
        ],
    )


def as_json(row: ImageRow) -> str:
    """An image as one line of JSON; `created` is in seconds since 1970, or null."""
    import json

    return json.dumps(
        {
            "repository": None if row.reference is None else _repository(row),
            "tag": None if row.reference is None else row.reference.tag,
            "id": row.image_id,
            "digest": row.digest,
            "platforms": row.platforms,
            "created": row.created,
            "size": row.size,
        }
    )


def short_id(digest: str, length: int | None) -> str:
    """A digest as people write it: without its algorithm, and cut."""
    return digest if length is None else digest.partition(":")[2][:length]


def _repository(row: ImageRow) -> str:
    if row.reference is None:
        return NONE
    name = row.reference.familiar.partition("@")[0]
    return name.removesuffix(f":{row.reference.tag}") if row.reference.tag else name


def _tag(row: ImageRow) -> str:
    return NONE if row.reference is None else row.reference.tag or NONE
