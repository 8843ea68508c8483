"""Cache mounts: what sharing promises, between threads that stand for processes."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from msgspec.structs import replace

from lamina.cache.mounts import CacheMounts, Folder
from lamina.errors import UserError
from lamina.graph.mounts import CacheMount, Sharing
from lamina.oci.platform import Platform

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64")
MOUNT = CacheMount(id="apt", target="/var/cache/apt", uid=os.getuid(), gid=os.getgid())


@pytest.fixture
def notes() -> list[str]:
    return []


class Use:
    """Uses mounts of one store."""

    def __init__(self, root: Path, notes: list[str]) -> None:
        self.mounts = CacheMounts(str(root))
        self.notes = notes
        self.cancelled = threading.Event()

    def __call__(
        self, sharing: Sharing = Sharing.SHARED, *, platform: Platform = AMD64, **changes: object
    ) -> AbstractContextManager[Folder]:
        mount = replace(MOUNT, sharing=sharing, **changes)
        return self.mounts.use(
            mount,
            platform,
            fill=lambda directory: Path(directory, "first").touch(),
            note=self.notes.append,
            cancelled=self.cancelled,
        )


@pytest.fixture
def use(tmp_path: Path, notes: list[str]) -> Use:
    return Use(tmp_path, notes)


def test_what_is_written_is_there_the_next_time(use: Use) -> None:
    """And the first content is given once."""
    with use() as folder:
        assert folder.fresh
        assert os.listdir(folder.path) == ["first"]
        Path(folder.path, "second").touch()
    with use() as folder:
        assert not folder.fresh
        assert sorted(os.listdir(folder.path)) == ["first", "second"]


def test_owner_and_mode_do_not_make_another_mount(use: Use) -> None:
    """The identity is the id; the mode is set when it is mounted."""
    with use(mode=0o755) as one, use(mode=0o700) as other:
        assert one.path == other.path
        assert os.stat(one.path).st_mode & 0o7777 == 0o700


def test_another_id_or_platform_is_another_mount(use: Use) -> None:
    """amd64 and arm64 never share what was compiled."""
    with use() as one, use(id="npm") as other, use(platform=ARM64) as third:
        assert len({one.path, other.path, third.path}) == 3


def test_shared_users_do_not_wait(use: Use) -> None:
    """Two of them see the same folder at the same time."""
    with use() as one, use() as other:
        assert one.path == other.path


def test_a_locked_user_waits_for_the_other(use: Use, notes: list[str]) -> None:
    """And says so."""
    order = []
    with use(Sharing.LOCKED):

        def second() -> None:
            with use(Sharing.LOCKED):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        while not notes:
            thread.join(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert notes == ["waiting for the lock of cache mount apt"]


def test_waiting_ends_when_the_build_is_cancelled(use: Use) -> None:
    """Ctrl-C does not hang on somebody else's lock."""
    with use(Sharing.LOCKED):
        use.cancelled.set()
        with pytest.raises(UserError, match="canceled"), use(Sharing.LOCKED):
            pass


def test_a_private_user_gets_a_copy_of_its_own(use: Use, notes: list[str]) -> None:
    """Filled like the first, and kept for later."""
    with use(Sharing.PRIVATE) as one:
        with use(Sharing.PRIVATE) as other:
            assert one.path != other.path
            assert os.listdir(other.path) == ["first"]
            second = other.path
        assert "copy of its own" in notes[0]
        with use(Sharing.PRIVATE) as again:
            assert again.path == second
