"""Copying a directory of a tree out into an ordinary directory: what a new cache mount starts with."""

from __future__ import annotations

from lamina.graph.ops import CopyOp, TreeSource
from lamina.layer.tree import Tree
from lamina.ops.copying.nothing import Nothing
from lamina.ops.copying.select import select
from lamina.ops.copying.write import write


def copy_out(tree: Tree, path: bytes, directory: str) -> None:
    """Copies what is in the directory `path` (absolute or not) into the empty `directory`.

    Raises SourceNotFound if there is none, and what `write` raises.
    """
    import os

    source = TreeSource(input=0, path="/" + os.fsdecode(path).strip("/"))
    operation = CopyOp(sources=(source,), dest="/")
    write(operation, [select(tree, source)], Nothing(), directory, now_ns=0)
