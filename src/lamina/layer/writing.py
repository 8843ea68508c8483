"""Writing the files of a layer into a directory, with all that a file has besides its content.

What this machine does not let us set (owners in a user namespace with one id, device nodes, file
systems without attributes) is noted, and the rest goes on.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from lamina.fs.remove import remove_tree
from lamina.layer.batch import CREATE, Attributes, Batch
from lamina.layer.batch import Note as Note
from lamina.layer.entry import Entry, Kind
from lamina.layer.overlay import make_whiteout, set_opaque

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN: Final = 32
_DEVICES: Final = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK}


class DiffWriter:
    """Creates files below `root`. The directory of every path exists already, made here.

    Small files are made later, many at once: at the latest by `flush`, and before anything that
    may concern them. All methods raise OSError for what is not merely noted.
    """

    def __init__(self, root: bytes) -> None:
        self._directories: dict[bytes, int] = {b"": os.open(root, _OPEN_DIRECTORY)}
        self._root = root
        status = os.fstat(self._directories[b""])
        mine = (os.geteuid(), os.getegid())
        if status.st_mode & stat.S_ISGID:
            mine = (-1, -1)  # new files get another group than ours
        self._attributes = Attributes(mine)
        self._batch = Batch(self._attributes)

    @property
    def notes(self) -> list[Note]:
        """What was only noted, of all files that are made."""
        return self._attributes.notes

    def close(self) -> None:
        self._batch.close()
        for descriptor in self._directories.values():
            os.close(descriptor)
        self._directories.clear()

    def write_file(self, entry: Entry, content: bytes) -> None:
        """A small file, with all that it has."""
        path = entry.path
        cut = path.rfind(b"/")
        parent = path[: max(cut, 0)]
        if not self._batch.is_in(parent):
            self._batch.enter(parent, self._directory(parent))
        if self._batch.add(path[cut + 1 :], entry, content):
            self._batch.make()

    def flush(self) -> None:
        """Makes the files that wait to be made."""
        if len(self._batch):
            self._batch.make()

    def create(self, path: bytes) -> int:
        """A descriptor to write the content of a new file to, to be closed after `complete`."""
        directory, name = self._parent(path)
        return os.open(name, CREATE, 0o600, dir_fd=directory)

    def complete(self, descriptor: int, entry: Entry) -> None:
        """Sets what a file has besides its content."""
        self._attributes.complete(descriptor, entry)

    def make_directory(self, path: bytes) -> None:
        directory, name = self._parent(path)
        os.mkdir(name, 0o700, dir_fd=directory)

    def complete_directory(self, entry: Entry, *, opaque: bool) -> None:
        """Sets what a directory has besides its files; nothing more is made in it afterwards."""
        self.flush()
        descriptor = self._directory(entry.path)
        if opaque:
            set_opaque(descriptor)
        self.complete(descriptor, entry)

    def link(self, target: bytes, path: bytes) -> None:
        self.flush()
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
        self._attributes.own(name, entry, directory=directory)
        if entry.kind is not Kind.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=directory)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def make_whiteout(self, path: bytes) -> None:
        directory, name = self._parent(path)
        make_whiteout(name, directory=directory)

    def remove(self, path: bytes, *, is_directory: bool) -> None:
        self.flush()
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
            self._attributes.note(entry, "device")
            # Something has to stand there, or what lower layers have would be seen.
            os.close(os.open(name, CREATE, 0o600, dir_fd=directory))

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
