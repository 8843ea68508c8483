"""Writing what COPY and ADD selected as a layer.

dest         links in it are followed inside the parent; a slash at its end, or an existing
             directory, takes files under their own names
directory    its contents are merged into dest; directories that were there take the source's
             attributes, but dest itself keeps its own
file         takes the place of a file or a link, never of a directory
archive      is unpacked into dest (ADD of a local tar)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from typing import assert_never

import msgspec
from msgspec.structs import replace

from lamina.context.archive import open_archive
from lamina.errors import UserError
from lamina.fs.streams import Source
from lamina.graph.ops import CopyOp, InlineSource, TreeSource
from lamina.layer.contents import SMALL, Contents
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.tree import Tree
from lamina.layer.unpack import unpack_archive
from lamina.layer.writing import Note
from lamina.notation.chmod import ModeChange, parse_mode_change
from lamina.ops.copying.content import Reader
from lamina.ops.copying.draft import LayerDraft, disk_errors
from lamina.ops.copying.owner import Owner, find_owner
from lamina.ops.copying.selection import Item, Match, Selection, shown

_INLINE_MODE = 0o644


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that was written. `notes` say what this machine did not let us set on disk.

    `unknown` are the names of users and groups that the parent does not have, and that count as 0.
    """

    manifest: Manifest
    notes: tuple[Note, ...] = ()
    unknown: tuple[str, ...] = ()


def write(
    op: CopyOp,
    selections: Sequence[Selection | None],
    parent: Tree,
    diff: str | bytes,
    *,
    now_ns: int,
    contents: Contents | None = None,
) -> Written:
    """Writes the sources, in order, into the empty diff directory `diff`, to lie on `parent`.

    There is a selection for every TreeSource of `op`, and None for an InlineSource. `now_ns` is the
    time of directories and files that are made out of nothing, unless the operation has an epoch.
    What small files hold is taken from `contents` and kept there.
    Raises SourceChanged where a file is not what was selected, other UserErrors where the parent is
    in the way or an archive is malformed, and HostError.
    """
    kept = contents or Contents(room=0)
    owner = find_owner(op.chown, parent) if op.chown else None
    fixed = None if op.epoch is None else op.epoch * 1_000_000_000
    with disk_errors("writing the layer"), LayerDraft(os.fsencode(diff), parent) as draft:
        writing = _Writing(draft, op, owner, fixed, fixed if fixed is not None else now_ns)
        for source, selection in zip(op.sources, selections, strict=True):
            match source:
                case InlineSource():
                    writing.inline(source)
                case TreeSource():
                    assert selection is not None
                    count = sum(len(found.items) for found in selection.matches)
                    with Reader(selection.tree, kept.for_files(count)) as reader:
                        for found in selection.matches:
                            writing.copy(found, selection, reader)
                case _:
                    assert_never(source)
        manifest, notes = draft.finish()
    return Written(manifest=manifest, notes=notes, unknown=owner.unknown if owner else ())


class _Writing:
    def __init__(
        self, draft: LayerDraft, op: CopyOp, owner: Owner | None, fixed: int | None, now_ns: int
    ) -> None:
        self._draft = draft
        self._dest = os.fsencode(op.dest)
        self._change: ModeChange = parse_mode_change(op.chmod)
        self._owner = owner
        self._as_it_is = not op.chmod and owner is None and fixed is None
        self._fixed = fixed
        self._now = now_ns

    def inline(self, source: InlineSource) -> None:
        entry = Entry(
            path=os.fsencode(source.name.lstrip("/")),
            kind=Kind.FILE,
            mode=_INLINE_MODE,
            size=len(source.content),
            mtime_ns=self._now,
            digest=sha256(source.content).digest(),
        )
        name = entry.path.rpartition(b"/")[2]
        target = self._attributed(entry, self._place(name, is_directory=False))
        with self._draft.new_file(target) as descriptor:
            data = memoryview(source.content)
            while data:
                data = data[os.write(descriptor, data) :]

    def copy(self, match: Match, selection: Selection, reader: Reader) -> None:
        if selection.source.unpack and self._unpack(match, reader):
            return
        is_directory = match.entry.kind is Kind.DIRECTORY
        if is_directory and not selection.source.wildcards:
            raise UserError(f"{shown(match.entry.path)} is a directory, not a file")
        place = self._place(match.name, is_directory=is_directory)
        if is_directory:
            self._root(place, match.entry)
        prefix = place + b"/" if place else b""
        for item in match.items:
            path = prefix + item.target if item.target else place
            if item.entry.kind is Kind.DIRECTORY:
                self._directory(item, path)
            elif item.same is not None:
                self._draft.put_link(prefix + item.same if item.same else place, path)
            elif item.entry.kind is Kind.FILE:
                self._file(item.entry, self._attributed(item.entry, path), reader)
            else:
                self._draft.put_other(self._attributed(item.entry, path))

    def _file(self, source: Entry, target: Entry, reader: Reader) -> None:
        if source.size <= SMALL:
            self._draft.put_file(target, reader.content(source))
            return
        with self._draft.new_file(target) as descriptor:
            reader.copy(source, descriptor)

    # Places

    def _place(self, name: bytes, *, is_directory: bool) -> bytes:
        """The real path that a file, or a directory's contents, go to; what it is in is made."""
        draft, dest = self._draft, self._dest
        above, _, last = dest.rpartition(b"/")
        self._make(draft.resolve(dest if last in (b"", b".") else above))
        place = draft.resolve(dest)
        there = draft.see(place)
        if not is_directory and there is not None and there.kind is Kind.DIRECTORY:
            return b"/".join(filter(None, (place, name)))
        self._make(place if is_directory and there is None else place.rpartition(b"/")[0])
        return place

    def _make(self, path: bytes, mode: int | None = None) -> None:
        like = Entry(
            path=b"",
            kind=Kind.DIRECTORY,
            mode=self._change.parents if mode is None else mode,
            uid=self._owner.uid if self._owner else 0,
            gid=self._owner.gid if self._owner else 0,
            mtime_ns=self._now,
        )
        self._draft.make_directories(path, like)

    # Directories

    def _root(self, path: bytes, source: Entry) -> None:
        """What the contents of a directory go into was made before, and keeps its attributes."""
        there = self._draft.see(path)
        if there is None or there.kind is not Kind.DIRECTORY:
            raise UserError(f"cannot copy to non-directory: {shown(path)}")
        if path in self._draft.entries and self._fixed is None:
            self._draft.put_directory(replace(there, mtime_ns=source.mtime_ns))

    def _directory(self, item: Item, path: bytes) -> None:
        there = self._draft.see(path)
        if there is None:
            self._draft.put_directory(self._attributed(item.entry, path))
            return
        if there.kind is not Kind.DIRECTORY:
            raise UserError(f"cannot copy to non-directory: {shown(path)}")
        if item.implied:
            new = replace(there, mode=item.entry.mode)
        else:
            new = self._attributed(item.entry, path)
            xattrs = {**dict(there.xattrs), **dict(new.xattrs)}
            new = replace(new, xattrs=tuple(sorted(xattrs.items())), opaque=there.opaque)
        self._draft.put_directory(new)

    def _attributed(self, source: Entry, path: bytes) -> Entry:
        """The source as it is to be at `path`."""
        if self._as_it_is and not source.opaque:
            return replace(source, path=path)
        mode = source.mode
        if source.kind is not Kind.SYMLINK:
            mode = self._change.apply(mode, is_directory=source.kind is Kind.DIRECTORY)
        return replace(
            source,
            path=path,
            mode=mode,
            uid=self._owner.uid if self._owner else source.uid,
            gid=self._owner.gid if self._owner else source.gid,
            mtime_ns=source.mtime_ns if self._fixed is None else self._fixed,
            opaque=False,
        )

    # Archives

    def _unpack(self, match: Match, reader: Reader) -> bool:
        """Unpacks what was named, if it is an archive."""
        if match.entry.kind is not Kind.FILE and match.entry.kind is not Kind.HARDLINK:
            return False
        with os.fdopen(reader.open(match.entry.path), "rb", buffering=0) as file:
            archive = open_archive(file)
            if archive is None:
                return False
            base = self._draft.resolve(self._dest)
            self._make(base, 0o755)
            if self._draft.is_empty:
                self._draft.adopt(self._unpacked(archive, self._draft.root, base))
            else:
                self._unpack_beside(archive, base)
        return True

    def _unpacked(self, archive: Source, directory: bytes, base: bytes) -> Manifest:
        owner = (self._owner.uid, self._owner.gid) if self._owner else None
        done = unpack_archive(archive, directory, base=base, lower=self._draft.see, owner=owner)
        return done.manifest

    def _unpack_beside(self, archive: Source, base: bytes) -> None:
        """Where the layer has files already, the archive is unpacked elsewhere and moved in."""
        root = self._draft.root
        import tempfile

        beside = tempfile.mkdtemp(prefix=b".unpacking-", dir=os.path.dirname(root))
        try:
            self._draft.merge(self._unpacked(archive, beside, base), beside)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
