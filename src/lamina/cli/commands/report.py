"""`lamina report`: a build as a page that opens offline, or a piece of it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import HostError, UsageError
from lamina.trace.report import Report

FORMATS = ("html", "json", "svg", "md")
_BY_ENDING = {".htm": "html", ".html": "html", ".json": "json", ".svg": "svg", ".md": "md"}


def command() -> click.Command:
    return Command(
        "report",
        params=[
            click.Argument(["build"], required=False),
            click.Option(
                ["-o", "--output"], metavar="FILE", help="The file to write (-: standard output)"
            ),
            click.Option(
                ["--format"],
                type=click.Choice(FORMATS),
                help="What to write (default: by the ending of FILE, else html)",
            ),
            click.Option(["--open"], is_flag=True, help="Show it in the browser"),
        ],
        run=run,
        usage="[FLAGS] [BUILD]",
        epilog="BUILD: latest (default), ^1 (the one before), the beginning of an id, or an image.",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    output, opened = values.text("output"), values.is_set("open")
    wanted = values.text("format") or _BY_ENDING.get(os.path.splitext(output)[1].lower(), "html")
    if opened and output == "-":
        raise UsageError("--open shows a file, and -o - is none")
    if wanted == "html" and not output and not opened and session.stdout.isatty():
        raise UsageError("the file is missing", hint="lamina report -o build.html, or --open")
    from lamina.control.report import gather

    gathered = gather(session.root, values.text("build"), now=time.time())
    data = _render(gathered.report, wanted)
    if not output and opened:
        output = os.path.join(gathered.folder, f"report.{wanted}")
    if output in ("", "-"):
        session.stdout.write(data)
        return 0
    path = os.path.join(session.cwd, output)
    _write(path, data)
    session.stderr.write(f"{output}: {len(data) / 1024:.0f} KiB\n".encode())
    if opened:
        _open(session, path)
    return 0


def _render(report: Report, wanted: str) -> bytes:
    match wanted:
        case "json":
            from lamina.ui.report.document import render_document

            return render_document(report)
        case "svg":
            from lamina.ui.report.picture import render_picture

            return render_picture(report).encode()
        case "md":
            from lamina.ui.report.markdown import render_markdown

            return render_markdown(report).encode()
        case _:
            from lamina.ui.report.page import render_page

            return render_page(report).encode()


def _write(path: str, data: bytes) -> None:
    from lamina.fs.publish import publish_file

    try:
        publish_file(path, data)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error


def _open(session: Session, path: str) -> None:
    import webbrowser
    from pathlib import Path

    if not webbrowser.open(Path(path).as_uri()):
        session.stderr.write(f"no browser was found: open {path} yourself\n".encode())
