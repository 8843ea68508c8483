"""Which paths of a tree a source pattern names.

    *  any letters but `/`     ?  one letter but `/`     [a-z] [^a-z]  a class     \\c  the letter c

Parts without wildcards lead to a directory, through symlinks; below it nothing is followed, and
what is named may itself be a symlink. Sources: "Pattern matching" of COPY in the Dockerfile
reference, and the syntax of Go's path/filepath.Match.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from lamina.errors import UserError
from lamina.layer.entry import Entry, Kind
from lamina.layer.tree import Tree


def has_wildcards(text: str) -> bool:
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            next(letters, None)
        elif letter in "*?[":
            return True
    return False


def split_wildcards(path: str) -> tuple[str, list[str]]:
    """The directory that a clean absolute path leads to, and the parts from a pattern on."""
    parts = path.strip("/").split("/") if path.strip("/") else []
    first = next((i for i, part in enumerate(parts) if has_wildcards(part)), len(parts))
    return "/".join(parts[:first]), parts[first:]


def expand(tree: Tree, directory: Entry, patterns: list[str]) -> Iterator[Entry]:
    """What the patterns name, one part each, below a directory; sorted. Raises UserError."""
    if directory.kind is not Kind.DIRECTORY:
        return
    pattern, *rest = patterns
    regex = compile_part(pattern)
    for entry in tree.children(directory.path):
        name = entry.path.rpartition(b"/")[2]
        if regex.match(os.fsdecode(name)) is None:
            continue
        if rest:
            yield from expand(tree, entry, rest)
        else:
            yield entry


def compile_part(pattern: str) -> re.Pattern[str]:
    """One part of a path as a regular expression. Raises UserError."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            out.append(".*")
        elif letter == "?":
            out.append(".")
        elif letter == "[":
            part, at = _class(pattern, at)
            out.append(part)
        elif letter == "\\":
            if at == len(pattern):
                raise _malformed(pattern)
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(letter))
    return re.compile("".join(out) + r"\Z", re.DOTALL)


def _class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern.startswith("^", at)
    at += negated
    members: list[str] = []
    while True:
        if pattern.startswith("]", at) and members:
            return f"[{'^' * negated}{''.join(members)}]", at + 1
        low, at = _member(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _member(pattern, at + 1)
        if low <= high:
            members.append(f"\\U{ord(low):08x}-\\U{ord(high):08x}")
        else:  # holds nothing, but is no error
            members.append("\\U0010ffff-\\U0010ffff")


def _member(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern) or pattern[at] in "-]":
        raise _malformed(pattern)
    if pattern[at] == "\\":
        at += 1
    if at + 1 >= len(pattern):
        raise _malformed(pattern)
    return pattern[at], at + 1


def _malformed(pattern: str) -> UserError:
    return UserError(
        f"syntax error in pattern: {pattern}", hint="a class of letters is written [a-z]"
    )
