"""A call of a builder, as far as caches are concerned."""

from __future__ import annotations

import enum
import posixpath
from collections.abc import Iterator

import msgspec

from lamina.notation.csv_line import CsvLineError, parse_csv_line
from lamina.source import Span


class Kind(enum.StrEnum):
    """What calls the builder."""

    ACTION = "action"
    COMMAND = "command"
    COMPOSE = "compose"
    BAKE = "bake"


class CacheOption(msgspec.Struct, frozen=True, kw_only=True):
    """A value of cache-from or cache-to, where it stands: `type=registry,ref=…`, or a reference.

    `conditional`: an expression decides whether it is there.
    """

    text: str
    span: Span
    conditional: bool = False

    @property
    def type(self) -> str:
        """Its type; `registry` for a plain reference, "" where it is not known."""
        if "=" not in self.text.partition(",")[0]:
            return "" if "$" in self.text.partition(":")[0] else "registry"
        found = self.attributes.get("type", "")
        return "" if "$" in found else found

    @property
    def attributes(self) -> dict[str, str]:
        try:
            fields = [field.partition("=") for field in parse_csv_line(self.text)]
        except CsvLineError:
            return {}
        return {name.strip().lower(): value for name, _, value in fields}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a call in continuous integration runs in.

    `ephemeral`: the machine, and so its own cache, is gone afterwards; None where that is not
    known. `builder`: one that can write caches elsewhere is set up before. `matrix` are the
    variables whose values make several jobs of this one, and None stands for some that are not
    known; `machine`: they choose the machine, too. `condition` are the expressions that decide
    whether the call is made.
    """

    ephemeral: bool | None = None
    builder: bool = False
    matrix: tuple[str, ...] | None = ()
    condition: str = ""
    machine: bool = False
    triggers: frozenset[str] = frozenset()


class BuildCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a builder.

    `dockerfiles` are the paths of its Dockerfiles, written as that of the file that it stands in;
    several where a matrix names them, none where they are not known. `varies`: the jobs of a matrix
    build different things. `target` is "" for the last stage. `quiet`: it asks for no image, or
    for no cache. `options` is the place where another option goes, with its indent: None where none
    can be added. `image` is the one reference that it pushes to, "" where that is not known.
    """

    kind: Kind
    span: Span
    dockerfiles: tuple[str, ...]
    varies: bool = False
    target: str = ""
    cache_from: tuple[CacheOption, ...] = ()
    cache_to: tuple[CacheOption, ...] = ()
    inline: bool = False
    quiet: bool = False
    job: Job | None = None
    options: tuple[Span, str] | None = None
    image: str = ""

    @property
    def cached(self) -> bool:
        return bool(self.cache_from or self.cache_to or self.inline)


def dockerfile_paths(root: str, context: str, file: str) -> tuple[str, ...]:
    """The path of a Dockerfile; none for a context that is no folder here, or a variable."""
    text = f"{context} {file}"
    if "$" in text or "://" in text or context.startswith("git@") or context == "-":
        return ()
    return (posixpath.normpath(posixpath.join(root, context or ".", file)),)


def same_file(one: str, other: str) -> bool:
    """Whether two paths name one file; one may go up from a folder whose name the other leaves
    out (`../app/Dockerfile` for `Dockerfile` in `app`).
    """
    one, other = posixpath.normpath(one), posixpath.normpath(other)
    return one == other or other in _shortened(one) or one in _shortened(other)


def _shortened(path: str) -> Iterator[str]:
    parts = path.split("/")
    up = len([part for part in parts if part == ".."])
    if up and len(parts) > 2 * up:
        yield "/".join(parts[2 * up :])
