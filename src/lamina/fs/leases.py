"""What processes need, so that nobody takes it away: leases.

A lease is a lock on one byte of a file that stays empty (fcntl_locking(2), open file description
locks). Which byte follows from the name alone, so a lease costs one system call and leaves nothing
behind: the kernel ends it with the process, however that dies. Rejected: a file a lease (thousands
of descriptors), a list of names a process (who reads it would have to know which lists are dead).

        hold(A) ──shared──▶ byte 0x3f2…   ◀──exclusive── alone(A): nobody has it, or wait for
        hold(B) ──shared──▶ byte 0x07c…                  whoever takes it away to be done
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from typing import Final

_FLOCK: Final = struct.Struct("@hhqqi4x")  # struct flock of 64-bit Linux
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_TAKEN: Final = (errno.EAGAIN, errno.EACCES)


class Leases:
    """The leases of a store, in the file `path`. Safe for several threads and processes.

    Names end in hexadecimal digits of a hash. Methods raise OSError.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._held: set[str] = set()
        self._taken: set[str] = set()
        self._holder = -1
        self._taker = -1  # locks of one descriptor do not exclude each other

    def close(self) -> None:
        """Nothing is held any more."""
        for descriptor in (self._holder, self._taker):
            if descriptor >= 0:
                os.close(descriptor)
        self._holder = self._taker = -1
        self._held.clear()

    def __del__(self) -> None:
        self.close()

    def hold(self, name: str) -> None:
        """This process needs it until it ends. Where it is just taken away, this waits."""
        if name in self._held:
            return
        with self._guard:
            if self._holder < 0:
                self._holder = os.open(self._path, _FLAGS, 0o600)
        _set(self._holder, fcntl.F_RDLCK, name, wait=True)
        self._held.add(name)

    def is_held(self, name: str) -> bool:
        """Whether a process needs it, this one included."""
        with self.alone(name) as alone:
            return not alone

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether nobody needs it; then nobody can say so until the block ends."""
        taken = self._take(name)
        try:
            yield taken
        finally:
            if taken:
                with self._guard:
                    _set(self._taker, fcntl.F_UNLCK, name, wait=False)
                    self._taken.discard(name)

    def _take(self, name: str) -> bool:
        with self._guard:
            if name in self._taken:  # by another thread, which a lock of ours does not exclude
                return False
            if self._taker < 0:
                self._taker = os.open(self._path, _FLAGS, 0o600)
            try:
                _set(self._taker, fcntl.F_WRLCK, name, wait=False)
            except OSError as error:
                if error.errno in _TAKEN:
                    return False
                raise
            self._taken.add(name)
            return True


def _set(descriptor: int, kind: int, name: str, *, wait: bool) -> None:
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    lock = _FLOCK.pack(kind, os.SEEK_SET, int(name.rpartition(":")[2][:15], 16), 1, 0)
    fcntl.fcntl(descriptor, command, lock)
