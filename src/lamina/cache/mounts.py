"""Cache mounts: folders that outlive builds, shared by all of them under real file locks.

    mounts/<digest of id and platform>/id        what it is, for people
                                       0/data    the folder itself
                                       0/lock    held by `locked` and `private` users
                                       0/users   shared by everybody who uses the folder
                                       0/stamps  digests of its files by stat (`file_stamps`)
                                       0/used    who used it last (`cache.mountlist`)
                                       1/data    another one, for a `private` user who found 0 taken

A mount is identified by its id and platform alone. Owner and mode belong to whoever mounts it, and
are set then: two steps that mount one id with different owners see the same files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator

import msgspec

from lamina.cache.mountlist import note_end, note_use
from lamina.errors import HostError, UserError
from lamina.fs.lock import FileLock, Waiting, lock, try_lock
from lamina.fs.remove import remove_tree
from lamina.graph.mounts import CacheMount, Sharing
from lamina.oci.platform import Platform


def _let_be(name: str, home: str) -> None:
    """Nothing is to be done before a mount is used."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A cache mount in use. `fresh` is true when nobody has filled it yet."""

    path: str
    fresh: bool


class StillFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A cache mount that is being read. `scratch` is a folder for whatever that takes, removed
    afterwards.
    """

    path: str
    scratch: str


def file_stamps(folder: str) -> str:
    """Where digests of the files of a cache mount are remembered; `folder` is its `data`, also
    while that is being made.
    """
    return os.path.join(os.path.dirname(folder), "stamps")


class CacheMounts:
    """The cache mounts of a store. Safe for several threads and processes.

    `opened` says which were used through this object, by id and platform, and whether one of their
    users was alone with it. `build` and `dockerfile` are noted with every use; `before` is called
    with the id and the folder of a mount that is about to be used.
    """

    def __init__(self, root: str, *, before: Callable[[str, str], None] = _let_be) -> None:
        self._root = root
        self._before = before
        self.build = ""
        self.dockerfile = ""
        self.opened: dict[tuple[str, str], bool] = {}

    @contextlib.contextmanager
    def use(
        self,
        mount: CacheMount,
        platform: Platform,
        *,
        fill: Callable[[str], None],
        note: Callable[[str], None],
        cancelled: threading.Event,
        refill: bool = False,
        waited: Callable[[str, float], None] = lambda what, seconds: None,
        step: str = "",
    ) -> Iterator[Folder]:
        """The folder of a mount, held as its `sharing` says until the block ends.

        `step` is the name of who uses it. `fill` puts the first content into a new folder, with
        `refill` also into one that is empty and that nobody uses. `note` is told what the user
        should know, `waited` for what and how many seconds it took to get the lock, where somebody
        else held it.
        """
        home = self._home(mount.id, platform)
        self._before(mount.id, home)
        identity = (mount.id, str(platform))
        alone = mount.sharing is not Sharing.SHARED
        self.opened[identity] = self.opened.get(identity, False) or alone
        with contextlib.ExitStack() as held:
            match mount.sharing:
                case Sharing.SHARED:
                    place = self._place(home, 0)
                case Sharing.LOCKED:
                    place = self._place(home, 0)
                    held.enter_context(self._wait(place, mount, note, waited, cancelled))
                case Sharing.PRIVATE:
                    place, taken = self._free(home, mount, note)
                    held.enter_context(taken)
            if refill:
                _remove_empty(place)
            users = lock(f"{place}/users", shared=True)
            if users is not None:
                held.enter_context(users)
            folder = self._open(place, mount, fill)
            note_use(place, build=self.build, dockerfile=self.dockerfile, step=step)
            held.callback(note_end, place)
            yield folder

    @contextlib.contextmanager
    def still(
        self, name: str, platform: Platform, *, alone: bool, patience: float
    ) -> Iterator[StillFolder | None]:
        """The first folder of a mount, to be read; None where there is none.

        With `alone` nobody who locks it writes to it meanwhile: that is waited for, `patience`
        seconds at most, and None where it was in vain. Otherwise it is locked if it is free.
        """
        place = f"{self._folder(name, platform)}/0"
        if not os.path.isdir(f"{place}/data"):
            yield None
            return
        with contextlib.ExitStack() as held:
            for path, needed in ((f"{place}/lock", alone), (f"{place}/reading", True)):
                taken = lock(path, waiting=_patient(patience)) if needed else try_lock(path)
                if taken is not None:
                    held.enter_context(taken)
                elif needed:
                    yield None
                    return
            scratch = f"{place}/scratch"
            remove_tree(scratch)  # left by a builder that was killed
            os.mkdir(scratch, 0o700)
            held.callback(remove_tree, scratch)
            yield StillFolder(path=f"{place}/data", scratch=scratch)

    def _folder(self, name: str, platform: Platform) -> str:
        identity = hashlib.sha256(f"{name}\n{platform}".encode("utf-8", "surrogateescape"))
        return os.path.join(self._root, identity.hexdigest()[:32])

    def _home(self, name: str, platform: Platform) -> str:
        home = self._folder(name, platform)
        if not os.path.isdir(home):
            os.makedirs(home, exist_ok=True)
            with open(f"{home}/id", "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f"{name}\n{platform}\n")
        return home

    def _place(self, home: str, number: int) -> str:
        place = f"{home}/{number}"
        os.makedirs(place, exist_ok=True)
        return place

    def _wait(
        self,
        place: str,
        mount: CacheMount,
        note: Callable[[str], None],
        waited: Callable[[str, float], None],
        cancelled: threading.Event,
    ) -> FileLock:
        taken = try_lock(f"{place}/lock")
        if taken is not None:
            return taken
        note(f"waiting for the lock of cache mount {mount.id}")
        began = time.monotonic()
        taken = lock(f"{place}/lock", waiting=lambda seconds: not cancelled.is_set())
        waited(f"cache mount {mount.id}", time.monotonic() - began)
        if taken is None:
            raise UserError("canceled")
        return taken

    def _free(
        self, home: str, mount: CacheMount, note: Callable[[str], None]
    ) -> tuple[str, FileLock]:
        """A copy that nobody uses; a new one, filled like the first, where all are taken."""
        for number in range(10_000):
            known = os.path.isdir(f"{home}/{number}")
            place = self._place(home, number)
            taken = try_lock(f"{place}/lock")
            if taken is not None:
                if number and not known:
                    note(f"cache mount {mount.id} is in use: this step has a copy of its own")
                return place, taken
        raise HostError(f"all copies of cache mount {mount.id} are in use")

    def _open(self, place: str, mount: CacheMount, fill: Callable[[str], None]) -> Folder:
        path = f"{place}/data"
        fresh = not os.path.isdir(path)
        if fresh:
            self._make(place, path, fill)
        if not mount.read_only:
            status = os.stat(path)
            if (status.st_uid, status.st_gid) != (mount.uid, mount.gid):
                os.chown(path, mount.uid, mount.gid)
            if status.st_mode & 0o7777 != mount.mode:
                os.chmod(path, mount.mode)
        return Folder(path=path, fresh=fresh)

    def _make(self, place: str, path: str, fill: Callable[[str], None]) -> None:
        """Make the folder, whole or not at all; another process may be at it too."""
        with contextlib.ExitStack() as stack:
            taken = lock(f"{place}/making")
            if taken is not None:
                stack.enter_context(taken)
            if os.path.isdir(path):
                return
            work = f"{path}.new"
            remove_tree(work)  # left by a builder that was killed
            os.mkdir(work, 0o755)
            fill(work)
            os.rename(work, path)


def _patient(limit: float) -> Waiting:
    return lambda seconds: seconds < limit


def _remove_empty(place: str) -> None:
    """Removes a folder with nothing in it, unless somebody uses it."""
    path = f"{place}/data"
    try:
        with os.scandir(path) as entries:
            if next(entries, None) is not None:
                return
    except FileNotFoundError:
        return
    taken = try_lock(f"{place}/users")
    if taken is not None:
        with taken, contextlib.suppress(OSError):  # one that was filled meanwhile stays
            os.rmdir(path)
