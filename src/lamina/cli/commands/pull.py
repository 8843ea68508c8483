"""`lamina pull`: an image from its registry."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import UsageError
from lamina.ui.progress import Mode, open_progress


def command() -> click.Command:
    return Command(
        "pull",
        params=[
            click.Option(
                ["--platform"],
                metavar="OS/ARCH",
                help="The image for this platform (default: this machine's); others stay there",
            ),
            click.Option(["-q", "--quiet"], is_flag=True, help="Print the image's name only"),
            click.Argument(["names"], nargs=-1, metavar="NAME[:TAG|@DIGEST]"),
        ],
        run=run,
        usage="[FLAGS] NAME[:TAG|@DIGEST]",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    """What came is told on standard output as Docker tells it, the progress on standard error."""
    values = Values(flags)
    names = values.texts("names")
    if len(names) != 1:
        raise UsageError("one name of an image is needed", hint="lamina pull NAME:TAG")
    from lamina.control.pull import pull_image

    quiet = values.is_set("quiet")
    mode: Mode = "quiet" if quiet else "auto"
    progress = open_progress(mode, stderr=session.stderr, environ=session.environ)
    try:
        image = pull_image(
            names[0],
            root=session.root,
            watchers=(progress,),
            environ=session.environ,
            platform=values.text("platform"),
        )
    finally:
        progress.close()
    status = "Downloaded newer image" if image.new else "Image is up to date"
    told = (
        ""
        if quiet
        else f"Digest: {image.digest}\nStatus: {status} for {image.reference.familiar}\n"
    )
    session.stdout.write(f"{told}{image.reference}\n".encode())
    return 0
