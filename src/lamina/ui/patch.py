"""What fixes changed, as a patch that `git apply` and `patch -p1` take."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

from lamina.advisor.fixing import Fixed
from lamina.ui.printable import escaped


def render_patch(fixed: Fixed, *, directory: str) -> bytes:
    """A unified diff of every file; new ones are made in `directory`."""
    parts = [
        *(_diff(before.name, before.text, after.text) for before, after in fixed.changes),
        *(_diff(os.path.join(directory, file.path), None, file.text) for file in fixed.new),
    ]
    return "".join(parts).encode("utf-8", "surrogateescape")


def _diff(name: str, before: str | None, after: str) -> str:
    path = os.path.normpath(name).lstrip("/")
    lines = difflib.unified_diff(
        _lines(before or ""),
        _lines(after),
        "/dev/null" if before is None else f"a/{path}",
        f"b/{path}",
    )
    return "".join(_ended(lines))


def _lines(text: str) -> list[str]:
    """Lines with their ends. Only the line feed ends one, as in a Dockerfile."""
    pieces = text.split("\n")
    return [f"{line}\n" for line in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def _ended(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def render_applied(name: str, fixed: Fixed) -> str:
    """What was done, a line a fix, and how much is left."""
    done = "".join(
        f"{escaped(one.span.file.name)}:{one.span.line}: {one.fix.title} ({one.rule})\n"
        for one in fixed.applied
        if one.fix is not None
    )
    left = len(fixed.left.findings)
    plural = "s" if left != 1 else ""
    rest = f"{escaped(name)}: {left} finding{plural} left for lamina check\n" if left else ""
    return done + rest
