"""A survey of a build context as text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from lamina.context.survey import Kept, PathReason, Survey, Use
from lamina.layer.entry import Kind
from lamina.ui.printable import encode, escaped
from lamina.ui.quantities import render_bytes
from lamina.ui.table import render_table


class Suggested(Protocol):
    """A line that an ignore file could have."""

    @property
    def pattern(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def count(self) -> int: ...


def render_files(survey: Survey, *, unused: bool, long: bool, json: bool) -> bytes:
    """The files: a path a line, a table with sizes and users (`long`), or an object a line."""
    files = survey.unused() if unused else _files(survey.kept)
    users = _users(survey) if long or json else {}
    if json:
        return _lines(
            {
                "path": _text(one.path),
                "size": one.size,
                "used_by": [{"line": use.span.line, "code": use.code} for use in users[one.path]],
            }
            for one in files
        )
    if not long:
        return b"".join(one.path + b"\n" for one in files)
    rows = [
        (render_bytes(one.size), _text(one.path), "; ".join(map(_place, users[one.path])))
        for one in files
    ]
    return encode(render_table(("size", "path", "taken by"), rows))


def for_terminal(text: bytes) -> bytes:
    """The text with control characters spelled out: a file's name may hold anything."""
    return encode(escaped(text.decode("utf-8", "surrogateescape")))


def render_hidden(survey: Survey, *, json: bool) -> bytes:
    """What is kept out, with the rule. A folder stands for all that is in it."""
    if json:
        return _lines(
            {"path": _text(one.path), "line": one.line, "rule": survey.rule(one.line)}
            for one in survey.hidden
        )
    rows = [(_text(one.path), survey.rule(one.line)) for one in survey.hidden]
    return encode(render_table(("path", "kept out by"), rows)) if rows else b""


def render_missing(survey: Survey) -> bytes:
    """A warning for each instruction that does not find what it wants."""
    return encode(
        "".join(
            f"WARNING: {_place(use)}: {use.missing} is not there"
            + (f" ({use.hint})" if use.hint else "")
            + "\n"
            for use in survey.uses
            if use.missing
        )
    )


def render_why(reason: PathReason) -> bytes:
    """Why a path is in the build or not: a sentence, and who takes it."""
    path = _text(reason.path) or "."
    if not reason.exists:
        rule = f"; it would be kept out by {reason.rule}" if reason.ignored else ""
        near = f" (did you mean {reason.near}?)" if reason.near else ""
        return encode(f"{path} is not in the context{near}{rule}\n")
    if reason.ignored:
        return encode(f"{path} is kept out by {reason.rule}\n")
    kept = f"taken back by {reason.rule}" if reason.rule else "no rule keeps it out"
    lines = [f"{path} goes to the build: {kept}"]
    lines += [f"  taken by {_place(use)}" for use in reason.users]
    if not reason.users:
        lines.append("  no COPY or ADD takes it")
    return encode("\n".join(lines) + "\n")


def render_sizes(survey: Survey, suggested: Sequence[Suggested], *, number: int) -> bytes:
    """The largest files and folders, what nobody takes, and lines for the ignore file."""
    files = _files(survey.kept)
    unused = survey.unused()
    total = sum(one.size for one in files)
    text = (
        f"{len(files)} files, {render_bytes(total)} go to the build; no COPY or ADD takes "
        f"{len(unused)} of them, {render_bytes(sum(one.size for one in unused))}\n\n"
    )
    largest = sorted(files, key=lambda one: (-one.size, one.path))[:number]
    rows = [(render_bytes(one.size), _text(one.path)) for one in largest]
    text += render_table(("size", "largest files"), rows)
    folders = sorted(survey.folders().items(), key=lambda item: (-item[1], item[0]))[:number]
    if folders:
        rows = [(render_bytes(size), _text(path) + "/") for path, size in folders]
        text += "\n" + render_table(("size", "largest folders"), rows)
    if suggested:
        name = survey.ignore.name if survey.ignore is not None else ".dockerignore"
        lined = [
            (render_bytes(line.size), str(line.count), line.pattern, line.why) for line in suggested
        ]
        text += "\n" + render_table(("size", "files", f"could be in {name}", "because"), lined)
    return encode(text)


def _files(kept: Iterable[Kept]) -> tuple[Kept, ...]:
    return tuple(one for one in kept if one.kind is not Kind.DIRECTORY)


def _users(survey: Survey) -> dict[bytes, list[Use]]:
    users: dict[bytes, list[Use]] = {one.path: [] for one in survey.kept}
    for use in survey.uses:
        for path in use.paths:
            if path in users:
                users[path].append(use)
    return users


def _place(use: Use) -> str:
    return f"{use.span} {use.code}"


def _lines(rows: Iterable[object]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _text(path: bytes) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
