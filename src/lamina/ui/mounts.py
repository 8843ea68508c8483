"""Cache mounts as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from lamina.cache.mountlist import MountCopy, MountUse
from lamina.ui.printable import encode
from lamina.ui.quantities import render_age, render_bytes
from lamina.ui.table import render_table

_BUILD = 12
_DAY = 86400.0


class _Row(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def platform(self) -> str: ...
    @property
    def copies(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def files(self) -> int: ...
    @property
    def used(self) -> float: ...
    @property
    def user(self) -> MountUse: ...
    @property
    def running(self) -> bool: ...
    @property
    def max_size(self) -> int | None: ...
    @property
    def keep_seconds(self) -> float | None: ...


class _Content(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def files(self) -> int: ...


class _Gone(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def platform(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def why(self) -> str: ...


def render_mounts(rows: Iterable[_Row], *, now: float) -> bytes:
    """A mount a line."""
    header = ("id", "platform", "copies", "size", "files", "used", "by", "limits")
    return encode(
        render_table(
            header,
            [
                (
                    row.id,
                    row.platform,
                    str(row.copies),
                    render_bytes(row.size),
                    str(row.files),
                    "now" if row.running else render_age(now - row.used),
                    _user(row.user),
                    _limits(row),
                )
                for row in rows
            ],
        )
    )


def _user(use: MountUse) -> str:
    step = use.step.partition(" ")[0] if use.step.startswith("[") else use.step
    if use.step.startswith("["):
        step = f"{use.step.partition(']')[0]}]"
    where = use.dockerfile.rpartition(":")
    place = f"{where[0]}/{where[2]}" if where[1] else use.dockerfile
    return " ".join(filter(None, (use.build[:_BUILD], step, place)))


def _limits(row: _Row) -> str:
    size = f"max {render_bytes(row.max_size)}" if row.max_size is not None else ""
    days = f"{row.keep_seconds / _DAY:g} days" if row.keep_seconds is not None else ""
    return ", ".join(filter(None, (size, days)))


def render_contents(
    copy: MountCopy, found: Sequence[_Content], *, number: int, now: float
) -> bytes:
    """Who used it, then its largest files and folders."""
    which = f", copy {copy.number}" if copy.number else ""
    total = sum(each.size for each in found if not each.path.endswith("/"))
    files = sum(not each.path.endswith("/") for each in found)
    text = f"{copy.id} ({copy.platform}{which}): {files} files, {render_bytes(total)}\n"
    text += f"used {render_age(now - copy.used)}"
    if copy.user.step:
        text += f" by {copy.user.step}\nof {copy.user.dockerfile}, build {copy.user.build[:_BUILD]}"
    text += "\n"
    rows = [
        (render_bytes(each.size), str(each.files) if each.files else "", each.path)
        for each in found[:number]
    ]
    if rows:
        text += "\n" + render_table(("size", "files", "path"), rows)
    if len(found) > number:
        text += f"… and {len(found) - number} more (-n {len(found)} shows all)\n"
    return encode(text)


def render_gone(gone: Sequence[_Gone], *, dry_run: bool) -> bytes:
    """A copy a line, then the sum."""
    verb = "would go" if dry_run else "removed"
    text = "".join(
        f"{each.id} ({each.platform}{f', copy {each.number}' if each.number else ''}): "
        f"{verb}, {render_bytes(each.size)}{f' ({each.why})' if each.why else ''}\n"
        for each in gone
    )
    free = "would free" if dry_run else "freed"
    return encode(f"{text}{free} {render_bytes(sum(each.size for each in gone))}\n")
