"""Real directories as the sources and the parent of a COPY."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from lamina.context.statindex import StatIndex
from lamina.context.tree import ContextTree
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.graph.ops import CopyOp, CopySource, TreeSource
from lamina.layer.entry import Entry
from lamina.layer.scan import read_diff
from lamina.ops.copying.select import select
from lamina.ops.copying.write import Written, write
from lamina.source import SourceFile

Files = Mapping[str, "str | bytes | None"]
"""By path: text, a link's target as `-> target`, or None for a directory."""


def lay_out(root: Path, files: Files) -> Path:
    root.mkdir(exist_ok=True, parents=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


class Copying:
    """Runs one COPY from the context `source` onto `parent`; the result lies in `diff`."""

    def __init__(self, tmp_path: Path, held: ExitStack) -> None:
        self.source = lay_out(tmp_path / "source", {})
        self.parent = lay_out(tmp_path / "parent", {})
        self.diff = tmp_path / "diff"
        self._held = held
        self._tmp = tmp_path
        self._runs = 0

    def tree(self, root: Path, ignore: str | None = None) -> ContextTree:
        matcher = None if ignore is None else parse_ignore_file(SourceFile("ignore", ignore))
        tree = ContextTree(str(root), matcher, StatIndex(None), keep_owners=root == self.parent)
        return self._held.enter_context(tree)

    def run(
        self,
        paths: str | tuple[CopySource, ...],
        dest: str,
        *,
        ignore: str | None = None,
        unpack: bool = False,
        **options: object,
    ) -> Written:
        """`paths`: sources of COPY with spaces between them."""
        sources: tuple[CopySource, ...] = (
            tuple(TreeSource(input=1, path=f"/{p}", unpack=unpack) for p in paths.split())
            if isinstance(paths, str)
            else paths
        )
        op = CopyOp(sources=sources, dest=dest, **options)  # type: ignore[arg-type]
        tree = self.tree(self.source, ignore)
        selections = [
            select(tree, source, op.exclude) if isinstance(source, TreeSource) else None
            for source in sources
        ]
        self._runs += 1
        self.diff = self._tmp / f"diff{self._runs}"
        self.diff.mkdir()
        return write(op, selections, self.tree(self.parent), str(self.diff), now_ns=NOW)


NOW = 1_700_000_000_123_456_789


def by_path(written: Written) -> dict[str, Entry]:
    """The manifest."""
    return {os.fsdecode(entry.path): entry for entry in written.manifest.entries}


def lies_on_disk(written: Written, diff: Path) -> bool:
    """Whether the layer's scan of the diff directory says the same as the manifest."""
    scanned = read_diff(str(diff)).manifest
    strip = [e for e in scanned.entries if e.path]
    return strip == [e for e in written.manifest.entries if e.path]
