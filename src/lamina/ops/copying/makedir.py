"""WORKDIR: a directory and its parents, made where they are missing."""

from __future__ import annotations

import os

from lamina.graph.ops import MakeDirOp
from lamina.layer.entry import Entry, Kind
from lamina.layer.tree import Tree
from lamina.ops.copying.draft import LayerDraft, disk_errors
from lamina.ops.copying.owner import Owner, find_owner
from lamina.ops.copying.write import Written


def make_directory(op: MakeDirOp, parent: Tree, diff: str | bytes, *, now_ns: int) -> Written:
    """Writes the missing directories into the empty `diff`, to lie on `parent`; maybe none.

    Links in the path are followed inside the parent. Raises UserError where something else is in
    the way, and HostError.
    """
    owner = find_owner(op.owner, parent) if op.owner else Owner(uid=0, gid=0)
    like = Entry(
        path=b"",
        kind=Kind.DIRECTORY,
        mode=op.mode & 0o777,
        uid=owner.uid,
        gid=owner.gid,
        mtime_ns=now_ns if op.epoch is None else op.epoch * 1_000_000_000,
    )
    with disk_errors("making a directory"), LayerDraft(os.fsencode(diff), parent) as draft:
        draft.make_directories(draft.resolve(os.fsencode(op.path)), like)
        manifest, notes = draft.finish()
    return Written(manifest=manifest, notes=notes, unknown=owner.unknown)
