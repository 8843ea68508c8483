"""What a source of COPY takes from a tree, as a value."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from typing import Final

import msgspec

from lamina.cachekey.key import ListedFile
from lamina.graph.ops import TreeSource
from lamina.layer.entry import Entry, Kind
from lamina.layer.tree import Tree
from lamina.oci.digest import Digest, digest_from

_SHORT: Final = 8


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One path to be copied.

    `target` is relative to where its match goes; b"" is the match itself. `entry` is that of the
    source tree, with its digest. An `implied` directory is there only for what is in it: it is made
    where it is missing, and given the source's mode where it is not. `same` is the target of an
    earlier item of this match that is the same file (a hard link).
    """

    target: bytes
    entry: Entry
    implied: bool = False
    same: bytes | None = None


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One path that the source named. Symlinks in it were followed, to `entry`.

    `name` is the last part of the path as it was named. The items of a directory are what is in it,
    not the directory itself; those of anything else are the one with the target b"".
    """

    name: bytes
    entry: Entry
    items: tuple[Item, ...]


class Selection(msgspec.Struct, frozen=True, dict=True):
    """The matches of one source, in the order in which they are copied."""

    source: TreeSource
    tree: Tree
    matches: tuple[Match, ...]

    @cached_property
    def digest(self) -> Digest:
        """Of all that decides what is written: names, kinds, modes, owners, content; no times.

        The name of a directory whose contents are taken does not matter, nor do its attributes.
        """
        encode = msgspec.msgpack.Encoder().encode
        hasher = hashlib.sha256(b"lamina selection 1\n")
        for match in self.matches:
            is_directory = match.entry.kind is Kind.DIRECTORY
            rows = [_row(item) for item in match.items]
            hasher.update(encode((b"" if is_directory else match.name, is_directory, rows)))
        return digest_from(hasher.digest())

    def files(self) -> tuple[ListedFile, ...]:
        """The same as a listing, to tell what changed between two selections."""
        return tuple(
            ListedFile(
                path=item.entry.path,
                mode=item.entry.mode,
                uid=item.entry.uid,
                gid=item.entry.gid,
                content=_content(item),
            )
            for item in self.items()
        )

    def items(self) -> Iterator[Item]:
        for match in self.matches:
            yield from match.items


Row = tuple[
    bytes,
    int,
    int,
    int,
    int,
    bytes,
    bytes,
    tuple[int, int],
    tuple[tuple[bytes, bytes], ...],
    bool,
    bytes | None,
]


def _row(item: Item) -> Row:
    e = item.entry
    return (
        item.target,
        e.kind,
        e.mode,
        e.uid,
        e.gid,
        e.link if e.kind is Kind.SYMLINK else b"",
        e.digest,
        e.device,
        e.xattrs,
        item.implied,
        item.same,
    )


def _content(item: Item) -> bytes:
    entry = item.entry
    if entry.kind is Kind.FILE and not entry.xattrs and item.same is None:
        return entry.digest[:_SHORT]
    row = (entry.kind, entry.link, entry.digest, entry.device, entry.xattrs, item.same)
    return hashlib.sha256(msgspec.msgpack.encode(row)).digest()[:_SHORT]


def shown(path: bytes) -> str:
    """A path of a tree for messages: absolute, and printable."""
    return "/" + os.fsdecode(path).encode("utf-8", "replace").decode()
