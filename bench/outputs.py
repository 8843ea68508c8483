"""Whether builders made the same image: the trees in their archives, read by the tests' own eye."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tests.support.images import WHITEOUT, Node, Tree, apply, differences, entries, read_image

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
        nodes = dict(entries(layer))
        if any(removes(path, node, tree) for path, node in nodes.items()):
            apply(tree, layer)
        else:
            tree |= nodes  # the same, without looking through the whole tree for every file
    return tree


def read_folder(folder: Path) -> Tree:
    """The tree of files that were exported into a folder."""
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
            owner=(found.st_uid, found.st_gid),
            link=os.readlink(path) if kind == "symlink" else "",
            content=content,
        )
    return tree


def removes(path: str, node: Node, tree: Tree) -> bool:
    """Whether more happens to the tree than that this path is set."""
    over_folder = path in tree and tree[path].kind == "folder" and node.kind != "folder"
    name = path.rpartition("/")[2]
    return over_folder or node.kind == "hard link" or name.startswith(WHITEOUT)


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
