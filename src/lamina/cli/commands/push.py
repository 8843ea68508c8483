"""`lamina push`: images of the local store to their registries."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.control.request import PushRequest
from lamina.errors import UsageError
from lamina.ui.progress import Mode, open_progress


def command() -> click.Command:
    return Command(
        "push",
        params=[
            click.Option(["-a", "--all-tags"], is_flag=True, help="Push all tags of the names"),
            click.Option(
                ["--platform"],
                metavar="OS/ARCH",
                help="Of an image for several platforms, push this one alone",
            ),
            click.Option(["-q", "--quiet"], is_flag=True, help="Print the names only"),
            click.Argument(["names"], nargs=-1, metavar="NAME[:TAG]…"),
        ],
        run=run,
        usage="[FLAGS] NAME[:TAG]…",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    """What was pushed is told on standard output as Docker tells it, the progress on standard
    error.
    """
    values = Values(flags)
    names = values.texts("names")
    if not names:
        raise UsageError("the name of an image is missing", hint="lamina push NAME:TAG")
    from lamina.control.push import push_images

    request = PushRequest(
        names=names, all_tags=values.is_set("all_tags"), platform=values.text("platform")
    )
    quiet = values.is_set("quiet")
    mode: Mode = "quiet" if quiet else "auto"
    progress = open_progress(mode, stderr=session.stderr, environ=session.environ)
    try:
        pushed = push_images(
            request, root=session.root, watchers=(progress,), environ=session.environ
        )
    finally:
        progress.close()
    lines = [
        str(one.reference)
        if quiet
        else f"{one.reference.tag}: digest: {one.digest} size: {one.size}"
        for one in pushed
    ]
    session.stdout.write("".join(f"{line}\n" for line in lines).encode())
    return 0
