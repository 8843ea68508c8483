"""Copying trees through descriptors: every name is opened below a directory that is already open.

Whatever somebody else does to the trees meanwhile, nothing is read or written outside of them: no
link is followed, and no path is opened as a whole.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import msgspec

from lamina.errors import UserError
from lamina.fs.paths import open_beneath

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK: Final = 1 << 20


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """How much was copied: files (links and the like included), and their bytes."""

    files: int = 0
    size: int = 0


class Copying:
    """Copies entries from one open directory to another; what is there is replaced."""

    def __init__(self, *, mode: int = 0o7777) -> None:
        """`mode`: what files may have of theirs."""
        self.copied = Copied()
        self._mode = mode

    def contents(self, source: int, target: int) -> None:
        with os.scandir(source) as entries:
            names = [os.fsencode(entry.name) for entry in entries]
        for name in names:
            self.entry(source, name, target, name)

    def entry(self, source: int, name: bytes, target: int, new: bytes) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            with suppress(FileExistsError):
                os.mkdir(new, 0o700, dir_fd=target)
            with folder_at(name, source) as inner, folder_at(new, target) as outer:
                self.contents(inner, outer)
                _dress(outer, status)
            return
        if stat.S_ISLNK(status.st_mode):
            _vacate(new, target)
            os.symlink(os.readlink(name, dir_fd=source), new, dir_fd=target)
        elif stat.S_ISREG(status.st_mode):
            self._file(source, name, target, new)
        else:
            return  # a socket or a pipe is worth nothing elsewhere
        self.copied = Copied(files=self.copied.files + 1, size=self.copied.size + status.st_size)

    def _file(self, source: int, name: bytes, target: int, new: bytes) -> None:
        reading = os.open(name, _READ, dir_fd=source)
        try:
            status = os.fstat(reading)
            if not stat.S_ISREG(status.st_mode):
                return
            _vacate(new, target)
            writing = os.open(new, _NEW, 0o600, dir_fd=target)
            try:
                while data := os.read(reading, _CHUNK):
                    _write(writing, data)
                _dress(writing, status, self._mode)
            finally:
                os.close(writing)
        finally:
            os.close(reading)


class Packing:
    """Writes entries of an open directory to a tar."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar
        self.copied = Copied()

    def contents(self, folder: int, prefix: str) -> None:
        with os.scandir(folder) as entries:
            names = sorted(os.fsencode(entry.name) for entry in entries)
        for name in names:
            self.entry(folder, name, f"{prefix}{os.fsdecode(name)}")

    def entry(self, folder: int, name: bytes, shown: str) -> None:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        info = tarfile.TarInfo(shown)
        info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
        info.uid, info.gid = status.st_uid, status.st_gid
        if stat.S_ISDIR(status.st_mode):
            info.type = tarfile.DIRTYPE
            self.tar.addfile(info)
            with folder_at(name, folder) as inner:
                self.contents(inner, f"{shown}/")
            return
        if stat.S_ISLNK(status.st_mode):
            info.type = tarfile.SYMTYPE
            info.linkname = os.fsdecode(os.readlink(name, dir_fd=folder))
            self.tar.addfile(info)
        elif stat.S_ISREG(status.st_mode):
            with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
                info.size = os.fstat(file.fileno()).st_size
                self.tar.addfile(info, file)
        else:
            return
        self.copied = Copied(files=self.copied.files + 1, size=self.copied.size + info.size)


class Unpacking:
    """Writes the members of a tar below an open directory."""

    def __init__(self, tar: tarfile.TarFile, root: int) -> None:
        self.tar = tar
        self.root = root
        self.files = 0
        self.size = 0

    def run(self) -> Copied:
        for member in self.tar:
            if member.name.strip("./") == "" and member.isdir():
                continue  # the folder itself
            *parents, last = _parts(member.name)
            with ExitStack() as opened:
                folder = self.root
                for part in parents:
                    folder = opened.enter_context(_made(part, folder))
                self._member(member, folder, last)
        return Copied(files=self.files, size=self.size)

    def _member(self, member: tarfile.TarInfo, folder: int, name: bytes) -> None:
        if member.isdir():
            with _made(name, folder) as made:
                os.fchmod(made, member.mode & 0o7777)
            return
        if member.issym():
            if "\0" in member.linkname or not member.linkname:
                raise UserError(f"the archive has a link to nowhere: {member.name!r}")
            _vacate(name, folder)
            os.symlink(member.linkname, name, dir_fd=folder)
        elif member.isreg():
            content = self.tar.extractfile(member)
            assert content is not None
            _vacate(name, folder)
            descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
            try:
                while data := content.read(_CHUNK):
                    _write(descriptor, data)
                os.fchmod(descriptor, member.mode & 0o7777)
                with suppress(ValueError, OverflowError):  # a time that no file can have
                    os.utime(descriptor, (member.mtime, member.mtime))
            finally:
                os.close(descriptor)
        elif member.islnk():
            self._link(member, folder, name)
        else:
            return  # a device or a pipe
        self.files += 1
        self.size += member.size

    def _link(self, member: tarfile.TarInfo, folder: int, name: bytes) -> None:
        *parents, last = _parts(member.linkname)
        with ExitStack() as opened:
            source = self.root
            for part in parents:
                source = opened.enter_context(folder_at(part, source))
            _vacate(name, folder)
            os.link(last, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)


def _parts(name: str) -> list[bytes]:
    """The components of a path in an archive. Raises UserError for one that leads outside."""
    parts = [part for part in os.fsencode(name).split(b"/") if part not in (b"", b".")]
    if b".." in parts or not parts or "\0" in name:
        raise UserError(f"the archive has a name that leads outside: {name!r}")
    return parts


def _vacate(name: bytes, folder: int) -> None:
    """Nothing but a folder is at a name any more."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _dress(descriptor: int, status: os.stat_result, mode: int = 0o7777) -> None:
    """Mode, time, and where we may the owner."""
    with suppress(OSError):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & mode)
    os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def open_folder(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def folder_at(name: bytes, folder: int) -> Iterator[int]:
    """A folder within an open one; no link is followed."""
    descriptor = os.open(name, FOLDER, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _made(name: bytes, folder: int) -> Iterator[int]:
    """The same, made where it is missing."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=folder)
    with folder_at(name, folder) as descriptor:
        yield descriptor


@contextmanager
def beneath(root: int, path: bytes) -> Iterator[int]:
    descriptor = open_beneath(root, path or b".", FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
