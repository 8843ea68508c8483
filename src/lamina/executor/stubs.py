"""Mount points that exist for a mount alone leave no trace in the layer.

They are made through the root's own file system before anything is mounted on them, and taken away
when the step is over and its mounts are gone with its namespace: whatever is still the same empty
file or directory is removed, and its parent gets its times back where the step did not touch it.

Under an overlay, making `usr/share/x` also copies `usr` and `usr/share` into the upper directory,
where they would look like changes. Those copies are removed when the overlay is unmounted, if they
are still empty and equal to what they are copies of.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from lamina.executor import inside
from lamina.fs import syscalls

_OPAQUE_XATTRS = ("trusted.overlay.opaque", "user.overlay.opaque")
_PRIVATE_XATTRS = ("trusted.overlay.", "user.overlay.")


class Stub:
    """A mount point that was made; times are those of its parent, in nanoseconds."""

    __slots__ = ("after", "before", "inode", "path")

    def __init__(
        self, path: bytes, inode: int, before: tuple[int, int], after: tuple[int, int]
    ) -> None:
        self.path = path
        self.inode = inode
        self.before = before
        self.after = after


class Copy:
    """A directory that the overlay copied up only because a stub was made below it."""

    __slots__ = ("look", "path")

    def __init__(self, path: bytes, look: object) -> None:
        self.path = path
        self.look = look


class Stubs:
    """The mount points made in `root` (a descriptor), which is over `upper` if there is one."""

    def __init__(self, root: int, upper: str | None) -> None:
        self._root = root
        self._upper = upper
        self._made: list[Stub] = []
        self._copied: list[Copy] = []
        self._covered: list[bytes] = []

    def keep(self, path: bytes) -> None:
        """Makes the directory `path` for good, as runc does for those that every container has."""
        path = inside.resolve(self._root, path)
        for prefix in inside.missing(self._root, path):
            inside.create(self._root, prefix, directory=True)
        self._covered.append(path)

    def cover(self, target: bytes, *, directory: bool) -> None:
        """Makes `target`, unless it is inside something that is mounted before it."""
        path = inside.resolve(self._root, target)
        hidden = any(path.startswith(above + b"/") for above in self._covered)
        self._covered.append(path)
        if hidden or not path:
            return
        absent = inside.missing(self._root, path)
        if not absent:
            return
        self._note_copies(absent[0].rpartition(b"/")[0])
        for prefix in absent:
            self._make(prefix, directory=directory or prefix != path)

    def _make(self, path: bytes, *, directory: bool) -> None:
        parent, _, name = path.rpartition(b"/")
        with _opened(self._root, parent) as descriptor:
            before = _times(os.fstat(descriptor))
            inside.create(self._root, path, directory=directory)
            made = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            after = _times(os.fstat(descriptor))
        self._made.append(Stub(path, made.st_ino, before, after))

    def _note_copies(self, parent: bytes) -> None:
        if self._upper is None:
            return
        names = parent.split(b"/") if parent else []
        for count in range(1, len(names) + 1):
            path = b"/".join(names[:count])
            known = any(copy.path == path for copy in self._copied)
            if known or os.path.lexists(os.path.join(os.fsencode(self._upper), path)):
                continue
            with _opened(self._root, path) as descriptor:
                self._copied.append(Copy(path, _look(b"/proc/self/fd/%d" % descriptor)))

    def remove(self) -> None:
        """Takes the untouched ones away, the last one made first."""
        for stub in reversed(self._made):
            with contextlib.suppress(OSError):
                self._remove(stub)

    def _remove(self, stub: Stub) -> None:
        parent, _, name = stub.path.rpartition(b"/")
        with _opened(self._root, parent) as descriptor:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if found.st_ino != stub.inode:
                return
            times = _times(os.fstat(descriptor))
            if stat.S_ISDIR(found.st_mode):
                os.rmdir(name, dir_fd=descriptor)
            elif stat.S_ISREG(found.st_mode) and found.st_size == 0:
                os.unlink(name, dir_fd=descriptor)
            else:
                return
            kept = stub.before if times[1] == stub.after[1] else times
            os.utime(b"/proc/self/fd/%d" % descriptor, ns=kept)

    def remove_copies(self) -> None:
        """After the overlay is unmounted: undoes what it copied up for the stubs."""
        if self._upper is None:
            return
        upper = os.fsencode(self._upper)
        for copy in reversed(self._copied):
            path = os.path.join(upper, copy.path)
            with contextlib.suppress(OSError):
                if _is_opaque(path) or _look(path) != copy.look:
                    continue
                parent = os.path.dirname(path)
                times = _times(os.stat(parent))
                os.rmdir(path)
                os.utime(parent, ns=times)


@contextlib.contextmanager
def _opened(root: int, path: bytes) -> Iterator[int]:
    descriptor = syscalls.open_in(root, path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _times(status: os.stat_result) -> tuple[int, int]:
    return status.st_atime_ns, status.st_mtime_ns


def _look(path: bytes) -> object:
    """Everything about a directory that a layer would show."""
    status = os.stat(path)
    names = [name for name in os.listxattr(path) if not name.startswith(_PRIVATE_XATTRS)]
    xattrs = {name: os.getxattr(path, name) for name in names}
    return status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs


def _is_opaque(path: bytes) -> bool:
    for name in _OPAQUE_XATTRS:
        with contextlib.suppress(OSError):
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
    return False
