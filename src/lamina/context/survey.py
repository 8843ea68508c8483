"""What a build context holds, and who takes what of it: values, for people to look at."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from lamina.layer.entry import Kind
from lamina.source import SourceFile, Span


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction that takes files from the context. `paths` are those, directories included.

    `missing` says what it wants and does not find, `hint` why; then `paths` may be empty.
    """

    span: Span
    paths: frozenset[bytes]
    missing: str = ""
    hint: str = ""

    @property
    def code(self) -> str:
        """The instruction's first line."""
        return self.span.text.partition("\n")[0].rstrip("\\ \r")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Something that goes to the build. `size` in bytes, 0 for what is no file."""

    path: bytes
    kind: Kind
    size: int


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the ignore file keeps out, with all that is in it, and the line that says
    so.
    """

    path: bytes
    line: int


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """A context: what goes to the build and what does not, in the order of their paths."""

    dockerfile: SourceFile
    ignore: SourceFile | None
    kept: tuple[Kept, ...]
    hidden: tuple[Hidden, ...]
    uses: tuple[Use, ...]

    def users(self, path: bytes) -> tuple[Use, ...]:
        """The instructions that take a path, or something in it."""
        below = path + b"/"
        return tuple(
            use
            for use in self.uses
            if path in use.paths or any(taken.startswith(below) for taken in use.paths)
        )

    def unused(self) -> tuple[Kept, ...]:
        """Files that no instruction takes, but for the Dockerfile itself."""
        taken = frozenset[bytes]().union(*(use.paths for use in self.uses))
        own = {os.fsencode(self.dockerfile.name), b".dockerignore"}
        own |= {os.fsencode(self.ignore.name)} if self.ignore is not None else set()
        return tuple(
            one
            for one in self.kept
            if one.kind is not Kind.DIRECTORY and one.path not in taken and one.path not in own
        )

    def rule(self, line: int) -> str:
        """A line of the ignore file as messages name it: `.dockerignore line 3: *.env`."""
        if self.ignore is None:
            return ""
        return f"{self.ignore.name} line {line}: {self.ignore.line(line).strip()}"

    def folders(self) -> dict[bytes, int]:
        """The bytes in every folder that goes to the build, its folders included."""
        found: dict[bytes, int] = {}
        for one in self.kept:
            for folder in parents(one.path):
                found[folder] = found.get(folder, 0) + one.size
        return found


class PathReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a path is in the build or not. `rule` is the line of the ignore file that decided.

    `exists` is about the disk. `near` is the path that may have been meant by one that is not
    there.
    """

    path: bytes
    exists: bool
    ignored: bool
    rule: str = ""
    near: str = ""
    users: tuple[Use, ...] = ()


def parents(path: bytes) -> Iterable[bytes]:
    """The folders above a path, the nearest first, without the root."""
    while (cut := path.rfind(b"/")) > 0:
        path = path[:cut]
        yield path
