"""What the layers of an image hold, and which bytes of it nobody will ever see.

A layer never gives anything back: a file that a higher layer overwrites or removes is still loaded
down with the image. Such bytes are wasted.

    layer 2   app.js   ── seen
    layer 1   app.js   ── overwritten: wasted     cache/a   whited out: wasted
    layer 0   libc.so  ── seen
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from lamina.layer.entry import Entry, Kind, Manifest


class Wasted(msgspec.Struct, frozen=True, kw_only=True):
    """A file of layer `layer` that layer `by` has `overwritten` or `removed`. `size` in bytes."""

    path: bytes
    size: int
    layer: int
    by: int
    how: Literal["overwritten", "removed"]


class LayerContent(msgspec.Struct, frozen=True, kw_only=True):
    """A layer: the bytes of its files, how many files and links are new in it, stand for others of
    lower layers (`overwrote`), or take some away (`removed`), and its largest files.
    """

    size: int
    added: int
    overwrote: int
    removed: int
    largest: tuple[Entry, ...]


class _Seen(msgspec.Struct, frozen=True):
    """What is seen at a path: of which layer, and how large; a directory has no size."""

    layer: int
    size: int
    directory: bool


class Weighing:
    """Lays layers on each other, lowest first, one call of `add` a layer.

    `wasted` are all files that are hidden now, in the order in which that happened.
    """

    def __init__(self) -> None:
        self.wasted: list[Wasted] = []
        self._seen: dict[bytes, _Seen] = {}
        self._children: dict[bytes, list[bytes]] = {}
        self._count = 0

    def skip(self) -> None:
        """A layer of which nothing is known."""
        self._count += 1

    def add(self, manifest: Manifest, *, largest: int) -> LayerContent:
        """Lay a layer on top. Keeps so many of its largest files."""
        overwrote = removed = added = 0
        for entry in manifest.entries:
            before = self._seen.get(entry.path)
            match entry.kind:
                case Kind.WHITEOUT:
                    removed += before is not None
                    self._hide(entry.path, "removed")
                case Kind.DIRECTORY:
                    if before is not None and not before.directory:
                        self._hide(entry.path, "overwritten")
                    elif entry.opaque:
                        self._hide_below(entry.path, "removed")
                case _:
                    overwrote += before is not None
                    added += before is None
                    self._hide(entry.path, "overwritten")
        # Only now: what hides concerns the layers below alone.
        for entry in manifest.entries:
            if entry.kind is not Kind.WHITEOUT:
                self._show(entry)
        self._count += 1
        files = sorted(
            (entry for entry in manifest.entries if entry.size),
            key=lambda entry: (-entry.size, entry.path),
        )
        return LayerContent(
            size=sum(entry.size for entry in manifest.entries),
            added=added,
            overwrote=overwrote,
            removed=removed,
            largest=tuple(files[:largest]),
        )

    def _show(self, entry: Entry) -> None:
        path = entry.path
        if path not in self._seen and path:
            self._children.setdefault(path.rpartition(b"/")[0], []).append(path)
        self._seen[path] = _Seen(self._count, entry.size, entry.kind is Kind.DIRECTORY)

    def _hide(self, path: bytes, how: Literal["overwritten", "removed"]) -> None:
        """What is seen at a path, and all below it."""
        todo = [path]
        while todo:
            at = todo.pop()
            seen = self._seen.pop(at, None)
            todo += self._children.pop(at, ())
            if seen is not None and seen.size and not seen.directory:
                self.wasted.append(
                    Wasted(path=at, size=seen.size, layer=seen.layer, by=self._count, how=how)
                )

    def _hide_below(self, path: bytes, how: Literal["overwritten", "removed"]) -> None:
        for child in self._children.pop(path, ()):
            self._hide(child, how)


def weigh(
    manifests: Sequence[Manifest | None], *, largest: int
) -> tuple[tuple[LayerContent | None, ...], tuple[Wasted, ...]]:
    """The layers of a stack, lowest first, and what is wasted in them. None: nothing is known."""
    weighing = Weighing()
    contents: list[LayerContent | None] = []
    for manifest in manifests:
        if manifest is None:
            weighing.skip()
            contents.append(None)
        else:
            contents.append(weighing.add(manifest, largest=largest))
    return tuple(contents), tuple(weighing.wasted)
