"""Copying a directory of a tree out, into an ordinary one: what a new cache mount starts with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from lamina.errors import InternalError
from lamina.graph.ops import CopyOp, TreeSource
from lamina.layer.entry import Entry, Kind
from lamina.layer.tree import Tree
from lamina.ops.copying.select import select
from lamina.ops.copying.write import write

_ROOT: Final = Entry(path=b"", kind=Kind.DIRECTORY, mode=0o755)


def copy_out(tree: Tree, path: bytes, directory: str) -> None:
    """Copies what is in the directory `path` of the tree into the empty `directory`.

    Raises SourceNotFound if there is none, and what `write` raises.
    """
    source = TreeSource(input=0, path="/" + os.fsdecode(path).strip("/"))
    operation = CopyOp(sources=(source,), dest="/")
    write(operation, [select(tree, source)], _Nothing(), directory, now_ns=0)


class _Nothing:
    """The empty tree."""

    def lookup(self, path: bytes, *, follow: bool = True) -> Entry | None:
        return None if path.strip(b"/") else _ROOT

    def children(self, path: bytes) -> Iterable[Entry]:
        return ()

    def walk(self, path: bytes) -> Iterator[Entry]:
        return iter(())

    def host_path(self, path: bytes) -> bytes:
        raise InternalError("there is nothing in the empty tree")

    def digests(self, entries: Iterable[Entry]) -> list[Entry]:
        return list(entries)
