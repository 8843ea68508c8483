"""Room in the store: what processes need stays, and `max-size` is kept before something is written.

A cached build asks nothing here but to hold what it uses. What has to go is found out in
`control.keeping.clearing`, which nobody imports before there is too much.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lamina.cache.holdings import Holdings
from lamina.cache.index import Index, Record
from lamina.content.room import LAYER
from lamina.errors import HostError
from lamina.fs.leases import Leases
from lamina.fs.publish import publish_file
from lamina.layer.stack import Stack
from lamina.oci.digest import Digest, encoded

if TYPE_CHECKING:
    from lamina.control.settings import Settings

_BALLAST = "ballast"
_BALLAST_SIZE = 256 * 1024  # bytes
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Space:
    """Watches over the store at `root` (`content.room.Room`). Safe for several threads.

    `tell` is given sentences that the user should know.
    """

    def __init__(self, root: str, index: Index, environ: Mapping[str, str]) -> None:
        self.root = root
        self.leases = Leases(os.path.join(root, "leases"))
        self.holdings = Holdings(index)
        self.index = index
        self.tell: Callable[[str], None] = _unheard
        self._environ = environ
        self._settings: Settings | None = None
        self._guard = threading.Lock()
        self._expected = threading.local()
        self._pending: dict[int, int] = {}
        self._told = False
        self._aged = False
        self._weighed = False

    @property
    def settings(self) -> Settings:
        """Read when first asked for. Raises UsageError."""
        if self._settings is None:
            from lamina.control.settings import load_settings

            self._settings = load_settings(self._environ)
        return self._settings

    def hold(self, name: Digest) -> None:
        """This process needs a layer or blob. Raises HostError."""
        try:
            self.leases.hold(name)
        except OSError as error:
            if error.errno not in _READ_ONLY:  # then nobody can take anything away
                raise HostError(f"{self.root}/leases cannot be locked: {error.strerror}") from error

    def hold_layers(self, stack: Stack) -> None:
        """The same for all layers of a stack."""
        for layer in stack:
            self.hold(layer.id)

    def wrote(self, kind: str, name: Digest, size: int) -> None:
        """Count what is there now."""
        self._pending.pop(threading.get_ident(), None)
        self._put_ballast()
        self.holdings.add(kind, bytes.fromhex(encoded(name)), size)

    def _put_ballast(self) -> None:
        if self._weighed:
            return
        self._weighed = True
        path = os.path.join(self.root, _BALLAST)
        if not os.path.exists(path):
            with contextlib.suppress(OSError):
                publish_file(path, bytes(_BALLAST_SIZE), mode=0o600)

    def foresee(self, earlier: Record | None) -> None:
        """This thread is about to run a step; `earlier` is what it made the time before."""
        size = None
        if earlier is not None and earlier.stack and self.settings.cache.max_size is not None:
            last = bytes.fromhex(encoded(earlier.stack[-1].id))
            size = self.holdings.size(LAYER, last)
        self._expected.size = size or 0

    def make(self, size: int = 0) -> None:
        """Keep the limits before so many bytes are written: what has to go goes now.

        Where that does not suffice, the user is told, and the build goes on.
        """
        limits = self.settings.cache
        if limits.max_size is None and (limits.keep_seconds is None or self._aged):
            return
        from lamina.control.keeping.clearing import keep_limits

        needed = size or getattr(self._expected, "size", 0)
        me = threading.get_ident()
        with self._guard:
            self._pending.pop(me, None)
            room = needed + sum(self._pending.values())
            note = keep_limits(self, room=room, aged=not self._aged)
            self._aged = True
            self._pending[me] = needed
        if note and not self._told:
            self._told = True
            self.tell(note)

    def before_mount(self, name: str, home: str) -> None:
        """A cache mount is about to be used: one that is too large or too old begins anew."""
        if not self.settings.mounts:
            return
        limits = self.settings.mount(name)
        if limits.max_size is None and limits.keep_seconds is None:
            return
        from lamina.control.keeping.mount_limits import keep_mount_limits

        for note in keep_mount_limits(self, name, home, limits):
            self.tell(note)


def drop_ballast(root: str) -> None:
    """Give back what a full disk was kept for: nothing can be cleared without a little room."""
    try:
        disk = os.statvfs(root)
        if disk.f_bavail * disk.f_frsize < _BALLAST_SIZE:
            os.unlink(os.path.join(root, _BALLAST))
    except OSError:
        return


def _unheard(note: str) -> None:
    """Nobody listens."""
