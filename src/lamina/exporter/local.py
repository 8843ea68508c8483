"""`type=local`: the root file system as files in a folder.

As BuildKit's client writes them: what the folder holds stays unless the image has something at
the same path, owners are the caller's, modes, times and attributes are the image's. Nothing is
ever written through a symbolic link of the destination: every step opens one name in a folder
that is already open.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import msgspec

from lamina.content.store import host_errors
from lamina.errors import HostError, UsageError
from lamina.exporter.files import (
    FileOptions,
    Root,
    check_disjoint,
    entries_of,
    roots_of,
    time_of_all,
)
from lamina.exporter.image import BuiltImage
from lamina.exporter.meter import Meter
from lamina.exporter.port import ExportContext, ExportResult
from lamina.fs.copyfile import copy_content
from lamina.fs.paths import open_beneath
from lamina.fs.remove import remove_tree
from lamina.layer.entry import Entry, Kind

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}


class LocalExporter(msgspec.Struct, frozen=True, kw_only=True):
    """`dest` is a folder, made where it is missing. Several platforms get a folder each in it."""

    dest: str
    options: FileOptions

    @classmethod
    def parse(cls, dest: str | None, attributes: Mapping[str, str]) -> Self:
        mode = attributes.get("mode", "copy")
        if mode != "copy":
            raise UsageError(
                f"the output local does not support mode={mode}", hint="write mode=copy"
            )
        options = FileOptions.parse(attributes, output="local", more=frozenset(("mode",)))
        if not dest or dest == "-":
            raise UsageError("dest is required for local output", hint="write type=local,dest=DIR")
        if os.path.lexists(dest) and not os.path.isdir(dest):
            raise UsageError(f"destination directory {dest} is a file")
        return cls(dest=dest, options=options)

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult:
        split = self.options.split
        roots = roots_of(
            images, self.options, context, split=context.many(images) if split is None else split
        )
        if not roots[0].prefix:
            check_disjoint(roots)
        mtime_ns = time_of_all(self.options, context)
        with host_errors(self.dest):
            os.makedirs(self.dest, mode=0o700, exist_ok=True)
            top = os.open(self.dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for root in roots:
                _write_root(top, root, mtime_ns, self.dest, context)
        finally:
            os.close(top)
        return ExportResult()


def _write_root(
    top: int, root: Root, mtime_ns: int | None, dest: str, context: ExportContext
) -> None:
    with (
        Meter(context.progress, f"copying files {root.platform}"),
        contextlib.closing(_FolderWriter(top, dest)) as writer,
    ):
        if root.prefix:
            path = root.prefix.rstrip(b"/")
            folder = Entry(path=path, kind=Kind.DIRECTORY, mode=0o755, mtime_ns=mtime_ns or 0)
            writer.add(folder, b"")
        for entry, source in entries_of(root, mtime_ns=mtime_ns):
            writer.add(entry, source)
        if root.statement is not None:
            entry, data = root.statement
            writer.add(entry, b"", data=data)


class _FolderWriter:
    """Writes entries that come folders first, into folders that it keeps open while they last.

    Folders get their mode and time when they are left: a mode may forbid writing, and writing
    sets times.
    """

    def __init__(self, top: int, dest: str) -> None:
        self._top = top
        self._dest = dest
        self._open: list[tuple[Entry, int]] = []

    def add(self, entry: Entry, source: bytes, *, data: bytes | None = None) -> None:
        """`source` is the file with the content, unless `data` is that."""
        with self._naming(entry.path):
            parent = self._enter(entry.path)
            name = entry.path.rpartition(b"/")[2]
            if entry.kind is Kind.DIRECTORY:
                self._open.append((entry, _make_folder(parent, name)))
                return
            with _place(parent, name) as temporary:
                if data is not None:
                    _make_file(entry, data, parent, temporary)
                else:
                    self._make(entry, source, parent, temporary)

    def close(self) -> None:
        while self._open:
            self._leave()

    def _enter(self, path: bytes) -> int:
        """The open folder that `path` is in; those that are done are closed."""
        while self._open and not path.startswith(self._open[-1][0].path + b"/"):
            self._leave()
        return self._open[-1][1] if self._open else self._top

    def _leave(self) -> None:
        entry, fd = self._open.pop()
        try:
            with self._naming(entry.path):
                _set_xattrs(fd, entry)
                os.fchmod(fd, entry.mode)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _make(self, entry: Entry, source: bytes, parent: int, name: bytes) -> None:
        times = (entry.mtime_ns, entry.mtime_ns)
        if entry.kind is Kind.FILE:
            with _opened(entry, source) as content:
                _make_file(entry, content, parent, name)
        elif entry.kind is Kind.HARDLINK:
            self._link(entry.link, parent, name)
        elif entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
        elif entry.kind in _SPECIAL:
            _make_special(entry, parent, name)
            os.chmod(name, entry.mode, dir_fd=parent)
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _link(self, target: bytes, parent: int, name: bytes) -> None:
        folder, _, last = target.rpartition(b"/")
        fd = open_beneath(self._top, folder or b".", os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(last, name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _naming(self, path: bytes) -> Iterator[None]:
        with host_errors(os.path.join(self._dest, os.fsdecode(path))):
            yield


def _make_folder(parent: int, name: bytes) -> int:
    """Opens the folder, made where there is none; anything else in its place is removed."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, _FOLDER, dir_fd=parent)


@contextlib.contextmanager
def _place(parent: int, name: bytes) -> Iterator[bytes]:
    """A name to make something under, which then takes the place of `name`, whatever is there."""
    try:
        mode = os.lstat(name, dir_fd=parent).st_mode
    except FileNotFoundError:
        yield name
        return
    temporary = b".tmp." + secrets.token_hex(6).encode()
    try:
        yield temporary
        if stat.S_ISDIR(mode):
            remove_tree(b"/proc/self/fd/%d/%b" % (parent, name))
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent)


@contextlib.contextmanager
def _opened(entry: Entry, source: bytes) -> Iterator[int | bytes]:
    """The file to copy; nothing for an empty one."""
    if not entry.size:
        yield b""
        return
    origin = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield origin
    finally:
        os.close(origin)


def _make_file(entry: Entry, content: int | bytes, parent: int, name: bytes) -> None:
    """A file with what an open file holds, or with bytes."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    target = os.open(name, flags, 0o600, dir_fd=parent)
    try:
        if isinstance(content, int):
            copy_content(content, target)
        while content and isinstance(content, bytes):
            content = content[os.write(target, content) :]
        _set_xattrs(target, entry)
        os.fchmod(target, entry.mode)
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(target)


def _make_special(entry: Entry, parent: int, name: bytes) -> None:
    try:
        os.mknod(name, _SPECIAL[entry.kind] | 0o600, os.makedev(*entry.device), dir_fd=parent)
    except PermissionError:
        raise HostError(
            f"/{os.fsdecode(entry.path)} is a device, which only root may make",
            hint="write type=tar, or leave it out of the image",
        ) from None


def _set_xattrs(fd: int, entry: Entry) -> None:
    """What the file system and the caller's rights allow of them, as BuildKit does."""
    for key, value in entry.xattrs:
        try:
            os.setxattr(fd, key, value)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EACCES):
                raise
