"""Whether builders made the same image: the trees in their archives, read by the tests' own eye."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.images import (
    OPAQUE,
    WHITEOUT,
    Node,
    Tree,
    differences,
    entries,
    read_image,
    remove,
    within,
)

# a step's container needs these, and buildah and podman keep them in the layer
LEFT_BEHIND = ("etc/hosts", "etc/hostname", "etc/resolv.conf", "run", "proc", "sys", "dev")

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
}


class OutputsDiffer(Exception):
    """Two builders made different images; the message says in what."""


def read_tree(archive: Path) -> Tree:
    """The merged tree of the only image in an OCI archive."""
    tree: Tree = {}
    for layer in read_image(archive).layers:
        lay_over(tree, list(entries(layer)))
    return tree


def lay_over(tree: Tree, nodes: Sequence[tuple[str, Node]]) -> None:
    """Lay one layer over a tree: first what its whiteouts take away, then what it brings.

    Looks through the tree only where something goes, so that 100,000 files take seconds.
    """
    for path, _ in nodes:
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            for inside in within(tree, folder):
                del tree[inside]
        elif name.startswith(WHITEOUT):
            remove(tree, f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
    for path, node in nodes:
        if path.rpartition("/")[2].startswith(WHITEOUT):
            continue
        if path in tree and tree[path].kind == "folder" != node.kind:
            remove(tree, path)
        tree[path] = tree[node.link] if node.kind == "hard link" else node


def read_folder(folder: Path) -> Tree:
    """The tree of files that were exported into a folder.

    Owners are left out: BuildKit and Lamina give all files to the user, buildah keeps the image's.
    """
    tree: Tree = {}
    for path in folder.rglob("*"):
        found = path.lstat()
        kind = KINDS[stat.S_IFMT(found.st_mode)]
        content = ""
        if kind == "file":
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        tree[str(path.relative_to(folder))] = Node(
            kind=kind,
            mode=stat.S_IMODE(found.st_mode),
            owner=(0, 0),
            link=os.readlink(path) if kind == "symlink" else "",
            content=content,
        )
    return tree


def check_equal(trees: Mapping[str, Tree], *, differs: tuple[str, ...]) -> str:
    """The digest that the trees of all builders have. Raises OutputsDiffer.

    Below the paths of `differs`, not even the names need to be the same.
    """
    (first, ours), *others = [(name, less(tree, differs)) for name, tree in trees.items()]
    for name, theirs in others:
        found = differences(ours, theirs)
        if found:
            shown = "\n".join(f"  {line}" for line in found[:20])
            raise OutputsDiffer(f"{len(found)} paths of {first} and {name} differ:\n{shown}")
    return digest(ours)


def less(tree: Tree, differs: tuple[str, ...]) -> Tree:
    left_out = (*differs, *LEFT_BEHIND)
    inside = tuple(f"{path}/" for path in left_out)
    return {
        path: node
        for path, node in tree.items()
        if path not in left_out and not path.startswith(inside)
    }


def digest(tree: Tree) -> str:
    facts = repr([(path, tree[path].facts()) for path in sorted(tree)])
    return f"sha256:{hashlib.sha256(facts.encode(errors='surrogateescape')).hexdigest()}"
