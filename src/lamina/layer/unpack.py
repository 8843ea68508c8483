"""From a tar stream to a directory in overlay form, and the manifest of what is in it.

One pass: the contents are hashed while they are written, and the stream while it is read.
`unpack` applies a layer (OCI image specification, layer.md): `.wh.` names are deletions.
`unpack_archive` is what `ADD archive.tar /dir` does: they are plain files there.

Nothing outside the directory can be touched: it is empty at first and nobody else writes to it, a
model of what is in it (`DiffTree`) resolves every name without asking the disk, and the disk is
then reached through descriptors of real directories that are opened without following links.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

import msgspec

from lamina.fs.streams import Source
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.overlay import is_kept
from lamina.layer.placing import DiffTree, shown
from lamina.layer.reader import MalformedTar, Member, TarReader
from lamina.layer.scan import LowerEntry
from lamina.layer.tar import OPAQUE_NAME, WHITEOUT
from lamina.layer.writing import Note
from lamina.oci.digest import Digest, digest_from

_KINDS: Final = {
    b"0": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_LABEL: Final = b"V"  # the name of a GNU volume
_META: Final = b".wh..wh."


class MalformedLayer(MalformedTar):
    """A layer's tar that cannot be read, or that holds what no layer may hold."""


class MalformedArchive(MalformedTar):
    """An archive to be unpacked that cannot be read, or that holds what it must not hold."""


class Unpacked(msgspec.Struct, frozen=True, kw_only=True):
    """What was unpacked. `diff_id` and `size` are those of the tar stream.

    `notes` say what this machine did not let us set on disk; the manifest has it right.
    """

    manifest: Manifest
    diff_id: Digest
    size: int
    notes: tuple[Note, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the files on disk have everything that the manifest says."""
        return not self.notes


def unpack(stream: Source, directory: str | bytes) -> Unpacked:
    """Unpacks the uncompressed tar of a layer into the empty `directory`.

    Directories that the tar does not have, but needs, are 0755 root:root. Raises MalformedLayer,
    and HostError where the disk is full or refuses.
    """
    counted = _Counted(stream)
    reader = TarReader(counted, hasher=counted.hasher, error=MalformedLayer)
    tree = DiffTree(os.fsencode(directory), lower=None, malformed=reader.malformed)
    with tree:
        while (member := reader.next()) is not None:
            _apply(tree, reader, member, has_whiteouts=True)
        reader.drain()
        manifest, notes = tree.finish()
    return counted.result(manifest, notes)


def unpack_archive(
    stream: Source,
    directory: str | bytes,
    *,
    base: bytes = b"",
    lower: LowerEntry | None = None,
    owner: tuple[int, int] | None = None,
) -> Unpacked:
    """Unpacks an uncompressed archive into `base` of the diff directory `directory`.

    `directory` is empty; `lower` tells what the layers below it have, in which the archive's names
    are resolved as if chrooted to `base`, a real path. What is there already is replaced, but a
    directory is merged with a directory. `owner` is that of everything unpacked, if given.
    The result's `diff_id` and `size` are of no use. Raises MalformedArchive and HostError.
    """
    counted = _Counted(stream)
    reader = TarReader(counted, hasher=counted.hasher, error=MalformedArchive)
    root = os.fsencode(directory)
    tree = DiffTree(root, base=base, lower=lower, owner=owner, malformed=reader.malformed)
    with tree:
        tree.start()
        while (member := reader.next()) is not None:
            _apply(tree, reader, member, has_whiteouts=False)
        manifest, notes = tree.finish()
    return counted.result(manifest, notes)


class _Counted:
    """The stream, with its size and its hash."""

    def __init__(self, stream: Source) -> None:
        self._stream = stream
        self.size = 0
        self.hasher = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data

    def result(self, manifest: Manifest, notes: tuple[Note, ...]) -> Unpacked:
        return Unpacked(
            manifest=manifest,
            diff_id=digest_from(self.hasher.digest()),
            size=self.size,
            notes=notes,
        )


def _apply(tree: DiffTree, reader: TarReader, member: Member, *, has_whiteouts: bool) -> None:
    if member.kind == _LABEL:
        return
    kind = _KINDS.get(member.kind)
    if kind is None:
        raise reader.malformed(f"{shown(member.name)} is of the unknown type {member.kind!r}")
    path = tree.place(member.name, member.mtime_ns)
    if path == tree.base:
        if kind is not Kind.DIRECTORY:
            raise reader.malformed("the root is no directory")
        if not has_whiteouts:
            return  # the directory that an archive is unpacked to stays as it is
    name = path[path.rfind(b"/") + 1 :]
    if has_whiteouts and name.startswith(WHITEOUT):
        _whiteout(tree, reader, path, name)
        return
    entry = Entry(
        path=path,
        kind=kind,
        mode=0o777 if kind is Kind.SYMLINK else member.mode,
        uid=member.uid,
        gid=member.gid,
        size=member.size,
        mtime_ns=member.mtime_ns,
        link=member.link if kind is Kind.SYMLINK else b"",
        device=member.device,
        xattrs=_kept(member, kind),
    )
    match kind:
        case Kind.FILE:
            tree.add_file(entry, reader, member.sparse)
        case Kind.HARDLINK:
            tree.add_link(path, member.link)
        case Kind.DIRECTORY:
            tree.add_directory(entry)
        case Kind.CHARACTER if member.device == (0, 0):
            raise reader.malformed(f"{shown(path)} is the device 0:0, which means a deletion")
        case _:
            tree.add_other(entry)


def _whiteout(tree: DiffTree, reader: TarReader, path: bytes, name: bytes) -> None:
    parent = path[: -len(name)].rstrip(b"/")
    if name == OPAQUE_NAME:
        tree.hide_below(parent)
        return
    if name.startswith(_META):
        return  # bookkeeping of aufs
    hidden = name[len(WHITEOUT) :]
    if hidden in (b"", b".", b".."):
        raise reader.malformed(f"{shown(path)} deletes nothing that can be deleted")
    tree.hide(parent + b"/" + hidden if parent else hidden)


def _kept(member: Member, kind: Kind) -> tuple[tuple[bytes, bytes], ...]:
    """Symlinks and devices have none that a layer keeps; a hard link's are those of its file."""
    if not member.xattrs or kind not in (Kind.FILE, Kind.DIRECTORY):
        return ()
    return tuple(pair for pair in member.xattrs if is_kept(pair[0]))
