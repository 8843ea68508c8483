"""The cache mounts that a store has: what they are, who used them last, and taking them away.

For their layout see `cache.mounts`. A copy of a mount is gone when its `data` is: its locks stay,
because somebody may wait for them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from lamina.fs.lock import try_lock
from lamina.fs.remove import remove_tree

_USED: Final = "used"
_GONE: Final = ".removed-"
_MOST_TEXT: Final = 1000  # letters of a step's name that are kept


class MountUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who used a copy last: the build, its Dockerfile, and the step by its name."""

    build: str = ""
    dockerfile: str = ""
    step: str = ""


class MountCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One folder of a cache mount. `place` is where it lies with its locks, `name` identifies it in
    the store; `number` is 0 for the first, others are of `private` users. `used` in seconds since
    1970.
    """

    id: str
    platform: str
    number: int
    place: str
    used: float
    user: MountUse

    @property
    def data(self) -> str:
        """What a step sees."""
        return f"{self.place}/data"

    @property
    def name(self) -> str:
        home, number = os.path.split(self.place)
        return f"{os.path.basename(home)}/{number}"

    def is_in_use(self) -> bool:
        """Whether a step, or an export of it, is at it right now."""
        with _alone(self.place) as alone:
            return not alone

    def remove(self) -> bool:
        """Take it away, at once for everybody. False where it is in use. Raises HostError."""
        with _alone(self.place) as alone:
            if not alone:
                return False
            gone = f"{os.path.dirname(self.place)}/{_GONE}{os.getpid()}-{time.monotonic_ns():x}"
            try:
                os.rename(self.data, gone)
            except FileNotFoundError:
                return True
            for name in ("stamps", _USED):
                with contextlib.suppress(OSError):
                    os.unlink(f"{self.place}/{name}")
        remove_tree(gone)
        return True


def note_use(place: str, *, build: str, dockerfile: str, step: str) -> None:
    """A step is about to use the copy at `place`. Best effort: nothing depends on it."""
    use = MountUse(build=build, dockerfile=dockerfile, step=step[:_MOST_TEXT])
    with contextlib.suppress(OSError), open(f"{place}/{_USED}", "wb", buffering=0) as file:
        file.write(msgspec.json.encode(use))


def note_end(place: str) -> None:
    """The step has ended: what is known of the size is of no worth any more."""
    with contextlib.suppress(OSError):
        os.utime(f"{place}/{_USED}")


def list_copies(root: str) -> tuple[MountCopy, ...]:
    """The copies of all cache mounts below the folder `root`, by id, platform and number."""
    found: list[MountCopy] = []
    with contextlib.suppress(FileNotFoundError), os.scandir(root) as homes:
        for home in homes:
            if home.is_dir(follow_symlinks=False):
                found += _copies(home.path)
    return tuple(sorted(found, key=lambda copy: (copy.id, copy.platform, copy.number)))


def remove_left_overs(root: str) -> None:
    """What was taken away by somebody who was killed at it. Raises HostError."""
    with contextlib.suppress(FileNotFoundError):
        for home in os.listdir(root):
            with contextlib.suppress(OSError):
                for name in os.listdir(f"{root}/{home}"):
                    if name.startswith(_GONE):
                        remove_tree(f"{root}/{home}/{name}")


def _copies(home: str) -> Iterator[MountCopy]:
    try:
        with open(f"{home}/id", encoding="utf-8", errors="surrogateescape") as file:
            name, _, platform = file.read().rstrip("\n").rpartition("\n")
    except OSError:
        return
    for number in os.listdir(home):
        place = f"{home}/{number}"
        if number.isdecimal() and os.path.isdir(f"{place}/data"):
            use, used = _last_use(place)
            yield MountCopy(
                id=name, platform=platform, number=int(number), place=place, used=used, user=use
            )


def _last_use(place: str) -> tuple[MountUse, float]:
    try:
        with open(f"{place}/{_USED}", "rb") as file:
            use = msgspec.json.decode(file.read(), type=MountUse)
            return use, os.fstat(file.fileno()).st_mtime
    except (OSError, msgspec.DecodeError):
        with contextlib.suppress(OSError):
            return MountUse(), os.stat(f"{place}/data").st_mtime
        return MountUse(), 0.0


@contextlib.contextmanager
def _alone(place: str) -> Iterator[bool]:
    """Whether nobody uses or reads the copy; nobody begins to until the block ends."""
    with contextlib.ExitStack() as held:
        for name in ("users", "reading"):
            try:
                taken = try_lock(f"{place}/{name}")
            except FileNotFoundError:
                yield False
                return
            if taken is None:
                yield False
                return
            held.enter_context(taken)
        yield True
