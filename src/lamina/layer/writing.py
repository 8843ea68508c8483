"""Writing the files of a layer into a directory, with all that a file has besides its content.

What this machine does not let us set (owners in a user namespace with one id, device nodes, file
systems without attributes) is noted, and the rest goes on.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

import msgspec

from lamina.fs.remove import remove_tree
from lamina.layer.entry import Entry, Kind
from lamina.layer.overlay import make_whiteout, set_opaque

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN: Final = 32
_MOST_NOTES: Final = 100
_REFUSED: Final = (errno.EPERM, errno.EINVAL, errno.EOVERFLOW, errno.ENOTSUP, errno.EACCES)
_DEVICES: Final = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK}


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the disk does not have of a file: `owner`, `device`, or an attribute's name."""

    path: bytes
    what: str


class DiffWriter:
    """Creates files below `root`. The directory of every path exists already, made here.

    All methods raise OSError for what is not merely noted.
    """

    def __init__(self, root: bytes) -> None:
        self._directories: dict[bytes, int] = {b"": os.open(root, _OPEN_DIRECTORY)}
        self._root = root
        status = os.fstat(self._directories[b""])
        self._mine = (os.geteuid(), os.getegid())
        if status.st_mode & stat.S_ISGID:
            self._mine = (-1, -1)  # new files get another group than ours
        self.notes: list[Note] = []

    def close(self) -> None:
        for descriptor in self._directories.values():
            os.close(descriptor)
        self._directories.clear()

    def create(self, path: bytes) -> int:
        """A descriptor to write the content of a new file to; `complete` closes it."""
        directory, name = self._parent(path)
        return os.open(name, _CREATE, 0o600, dir_fd=directory)

    def complete(self, descriptor: int, entry: Entry) -> None:
        """Sets what a file has besides its content."""
        self._own(descriptor, entry)
        self._attributes(descriptor, entry)
        os.fchmod(descriptor, entry.mode)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))

    def make_directory(self, path: bytes) -> None:
        directory, name = self._parent(path)
        os.mkdir(name, 0o700, dir_fd=directory)

    def complete_directory(self, entry: Entry, *, opaque: bool) -> None:
        """Sets what a directory has besides its files; nothing more is made in it afterwards."""
        descriptor = self._directory(entry.path)
        if opaque:
            set_opaque(descriptor)
        self.complete(descriptor, entry)

    def link(self, target: bytes, path: bytes) -> None:
        source, old = self._parent(target)
        directory, name = self._parent(path)
        os.link(old, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)

    def make_other(self, entry: Entry) -> None:
        """A symlink, a device or a fifo."""
        directory, name = self._parent(entry.path)
        if entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=directory)
        elif entry.kind is Kind.FIFO:
            os.mkfifo(name, 0o600, dir_fd=directory)
        else:
            self._make_device(entry, directory, name)
        self._own_name(entry, directory, name)
        if entry.kind is not Kind.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=directory)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def make_whiteout(self, path: bytes) -> None:
        directory, name = self._parent(path)
        make_whiteout(name, directory=directory)

    def remove(self, path: bytes, *, is_directory: bool) -> None:
        directory, name = self._parent(path)
        if not is_directory:
            try:
                os.unlink(name, dir_fd=directory)
            except FileNotFoundError:  # a device that could not be made
                return
            return
        inside = path + b"/"
        for held in [held for held in self._directories if held == path or held.startswith(inside)]:
            os.close(self._directories.pop(held))
        remove_tree(b"/proc/self/fd/%d/%b" % (directory, name))

    def _make_device(self, entry: Entry, directory: int, name: bytes) -> None:
        mode = _DEVICES[entry.kind] | 0o600
        try:
            os.mknod(name, mode, os.makedev(*entry.device), dir_fd=directory)
        except PermissionError:
            self._note(entry, "device")
            # Something has to stand there, or what lower layers have would be seen.
            os.close(os.open(name, _CREATE, 0o600, dir_fd=directory))

    def _own(self, descriptor: int, entry: Entry) -> None:
        if (entry.uid, entry.gid) == self._mine:
            return
        try:
            os.fchown(descriptor, entry.uid, entry.gid)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self._note(entry, "owner")

    def _own_name(self, entry: Entry, directory: int, name: bytes) -> None:
        if (entry.uid, entry.gid) == self._mine:
            return
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self._note(entry, "owner")

    def _attributes(self, descriptor: int, entry: Entry) -> None:
        for name, value in entry.xattrs:
            try:
                os.setxattr(descriptor, name, value)
            except OSError as error:
                if error.errno not in (*_REFUSED, errno.ENOSPC, errno.E2BIG, errno.ERANGE):
                    raise
                self._note(entry, os.fsdecode(name))

    def _note(self, entry: Entry, what: str) -> None:
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(Note(path=entry.path, what=what))

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        cut = path.rfind(b"/")
        if cut < 0:
            return self._directories[b""], path
        return self._directory(path[:cut]), path[cut + 1 :]

    def _directory(self, path: bytes) -> int:
        found = self._directories.get(path)
        if found is not None:
            return found
        parent, name = self._parent(path)
        descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        if len(self._directories) >= _MOST_OPEN:
            oldest = next(held for held in self._directories if held)
            os.close(self._directories.pop(oldest))
        self._directories[path] = descriptor
        return descriptor
