"""Layers that were never made: what is known of each, and the tree that a stack of them shows.

Where a step was not run, its layer is known only in part:

    COPY      what it places, and where          everything is known
    WORKDIR   one folder                         everything is known
    RUN       the places that its earlier runs wrote to, where a record shows that; else nothing
    base      its manifest, if it is unpacked in the store; else nothing

A question about a path is answered from what is known, together with the ids of those unknown
layers that may have something there. If none may, the answer is exact.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import msgspec

from lamina.errors import HostError, UserError
from lamina.layer.entry import Entry, Kind
from lamina.layer.stack import Stack
from lamina.oci.digest import Digest

_MOST_LINKS = 255
_ROOT = Entry(path=b"", kind=Kind.DIRECTORY, mode=0o755)


class KnownLayer(msgspec.Struct, frozen=True, dict=True):
    """A layer of which every entry is known; `make` lists them. `top` is above all of them but for
    the folders that lead there. `find` tells what is at one path, without a list of them all.
    `weight` is how many entries it keeps in memory.
    """

    make: Callable[[], Iterable[Entry]]
    top: bytes = b""
    find: Callable[[bytes], Entry | None] | None = None
    weight: int = 0

    @cached_property
    def entries(self) -> dict[bytes, Entry]:
        return {entry.path: entry for entry in self.make()}

    @cached_property
    def names(self) -> dict[bytes, list[bytes]]:
        """What stands in each folder."""
        found: dict[bytes, list[bytes]] = {}
        for path in self.entries:
            if path:
                above, _, name = path.rpartition(b"/")
                found.setdefault(above, []).append(name)
        return found

    def concerns(self, path: bytes) -> bool:
        """Whether it may have something at, above or below a path."""
        return _related(self.top, path)

    def entry(self, path: bytes) -> Entry | None:
        """What it has at exactly a path."""
        return self.entries.get(path) if self.find is None else self.find(path)


class UnknownLayer(msgspec.Struct, frozen=True, dict=True):
    """A layer of which at most the places are known: `places` gives the paths of its files, None
    where not even these are known. `covering`: its id is another one whenever anything below it is.
    """

    places: Callable[[], Sequence[bytes] | None]
    covering: bool = False

    @cached_property
    def known(self) -> list[bytes] | None:
        found = self.places()
        return None if found is None else sorted(found)

    def concerns(self, path: bytes) -> bool:
        """Whether it may have changed something at or below a path, or put something above it."""
        if self.known is None or not path:
            return self.known is None or bool(self.known)
        at = bisect.bisect_left(self.known, path)
        if at < len(self.known) and self.known[at] == path:
            return True
        at = bisect.bisect_left(self.known, path + b"/")
        if at < len(self.known) and self.known[at].startswith(path + b"/"):
            return True
        return any(_contains(self.known, above) for above in _parents(path))


Model = KnownLayer | UnknownLayer
Models = Callable[[Digest], Model]
"""What is known of the layer with an id."""


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said about a path of a stack: the tree of what is known, and the ids of the
    unknown layers that may have something there.
    """

    tree: LayeredTree
    unknown: tuple[Digest, ...]


def look(stack: Stack, path: bytes, models: Models) -> Sight:
    """What is known of what a stack has at `path`, a clean path without wildcards.

    A single file that a COPY put there is taken to be as it was put, unless a record shows that a
    later step writes to it.
    """
    asked = path
    path, _ = resolve(stack, path, models)
    layers = [(layer.id, models(layer.id)) for layer in stack]
    unknown = _unknown(layers, path)
    # What lies below a covering layer need not be looked at: its id stands for that.
    first = max((place for place, _, model in unknown if model.covering), default=0)
    known = (model for _, model in layers[first:] if isinstance(model, KnownLayer))
    tree = LayeredTree([m for m in known if m.concerns(path) or m.concerns(asked)])
    return Sight(tree=tree, unknown=tuple(layer for _, layer, _ in unknown))


def resolve(stack: Stack, path: bytes, models: Models) -> tuple[bytes, Entry | None]:
    """Where a path leads, and what is known to be there; folders are taken to stay folders.

    Raises UserError for a circle of symlinks.
    """
    every = [models(layer.id) for layer in reversed(stack)]
    known = [model for model in every if isinstance(model, KnownLayer)]
    todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    here, entry = b"", None
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            here = here.rpartition(b"/")[0]
            continue
        inner = here + b"/" + part if here else part
        entry = _highest(known, inner)
        if entry is None or entry.kind is not Kind.SYMLINK:
            here = inner
            continue
        links += 1
        if links > _MOST_LINKS:
            raise UserError(f"too many levels of symbolic links: /{os.fsdecode(path)}")
        if entry.link.startswith(b"/"):
            here = b""
        todo += [p for p in reversed(entry.link.split(b"/")) if p not in (b"", b".")]
    return here, entry if here else _ROOT


def _unknown(
    layers: Sequence[tuple[Digest, Model]], path: bytes
) -> list[tuple[int, Digest, UnknownLayer]]:
    """The unknown layers that may have something at a path, with their places in the stack."""
    found = [
        (place, layer, model)
        for place, (layer, model) in enumerate(layers)
        if isinstance(model, UnknownLayer) and model.concerns(path)
    ]
    if found and _is_file(layers, path):
        return [each for each in found if each[2].known is not None]
    return found


def _is_file(layers: Sequence[tuple[Digest, Model]], path: bytes) -> bool:
    """Whether the highest known layer that has something at a path has a file there."""
    known = [model for _, model in reversed(layers) if isinstance(model, KnownLayer)]
    found = _highest(known, path)
    return found is not None and found.kind is Kind.FILE


def _highest(layers: Iterable[KnownLayer], path: bytes) -> Entry | None:
    """What the highest of some layers, highest first, has at a path."""
    entries = (layer.entry(path) for layer in layers if layer.concerns(path))
    found = next(filter(None, entries), None)
    return None if found is None or found.kind is Kind.WHITEOUT else found


class LayeredTree:
    """Implements lamina.layer.tree.Tree for layers that are known, lowest first."""

    def __init__(self, layers: Sequence[KnownLayer]) -> None:
        self._layers = tuple(reversed(layers))
        self._shown: dict[bytes, tuple[int, ...]] = {b"": tuple(range(len(layers)))}

    def lookup(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """See Tree. Raises UserError for a circle of symlinks."""
        todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
        trail = [self._entry(b"") or _ROOT]
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                if len(trail) > 1:
                    trail.pop()
                continue
            above = trail[-1]
            if above.kind is not Kind.DIRECTORY:
                return None
            entry = self._entry(b"/".join((above.path, part)).lstrip(b"/"))
            if entry is None:
                return None
            if entry.kind is not Kind.SYMLINK or (not todo and not follow):
                trail.append(entry)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise UserError(f"too many levels of symbolic links: /{os.fsdecode(path)}")
            if entry.link.startswith(b"/"):
                del trail[1:]
            todo += [p for p in reversed(entry.link.split(b"/")) if p not in (b"", b".")]
        return trail[-1]

    def children(self, path: bytes) -> Iterable[Entry]:
        prefix = path + b"/" if path else b""
        names = {n for i in self._directories(path) for n in self._layers[i].names.get(path, ())}
        found = (self._entry(prefix + name) for name in sorted(names))
        return [entry for entry in found if entry is not None]

    def walk(self, path: bytes) -> Iterator[Entry]:
        todo = list(reversed(list(self.children(path))))
        while todo:
            entry = todo.pop()
            yield entry
            if entry.kind is Kind.DIRECTORY:
                todo += reversed(list(self.children(entry.path)))

    def host_path(self, path: bytes) -> bytes:
        """Nothing of it is on disk: raises HostError."""
        raise HostError(f"/{os.fsdecode(path)} is in a layer that was not made")

    def digests(self, entries: Iterable[Entry]) -> list[Entry]:
        return list(entries)

    def same_file(self, path: bytes) -> tuple[int, int] | None:
        """See ops.copying.select.Linking: hard links count as files of their own."""
        return None

    def _entry(self, path: bytes) -> Entry | None:
        """What stands at a real path whose folders are known to be folders."""
        if not path:
            return next(filter(None, (each.entries.get(b"") for each in self._layers)), None)
        for index in self._directories(path.rpartition(b"/")[0]):
            entry = self._layers[index].entries.get(path)
            if entry is None:
                continue
            if entry.kind is Kind.WHITEOUT:
                return None
            if entry.kind is Kind.HARDLINK:
                file = self._layers[index].entries.get(entry.link)
                return None if file is None else msgspec.structs.replace(file, path=path)
            return entry
        return None

    def _directories(self, path: bytes) -> tuple[int, ...]:
        """The layers that show something of a directory, highest first."""
        known = self._shown.get(path)
        if known is not None:
            return known
        shown = []
        for index in self._directories(path.rpartition(b"/")[0]):
            entry = self._layers[index].entries.get(path)
            if entry is None:
                continue
            if entry.kind is not Kind.DIRECTORY:
                break
            shown.append(index)
            if entry.opaque:
                break
        self._shown[path] = tuple(shown)
        return self._shown[path]


def places_of(entries: Sequence[Entry]) -> tuple[bytes, ...]:
    """The paths at which a layer changes something: not the folders that only lead there."""
    above = {entry.path.rpartition(b"/")[0] for entry in entries}
    return tuple(
        entry.path
        for entry in entries
        if entry.path
        and (entry.kind is not Kind.DIRECTORY or entry.opaque or entry.path not in above)
    )


def _related(one: bytes, other: bytes) -> bool:
    """Whether one of two paths is above the other, or they are equal."""
    return (
        not one
        or not other
        or one == other
        or one.startswith(other + b"/")
        or other.startswith(one + b"/")
    )


def _contains(paths: list[bytes], path: bytes) -> bool:
    at = bisect.bisect_left(paths, path)
    return at < len(paths) and paths[at] == path


def _parents(path: bytes) -> Iterator[bytes]:
    while (cut := path.rfind(b"/")) > 0:
        path = path[:cut]
        yield path
