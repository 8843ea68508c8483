"""The stories of `make demo` hold: as root, and the first two as an ordinary user."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from demo.builds import Builder, default_command
from demo.stories import keep_downloads, order_your_layers, use_bind_mounts
from tests.support.users import OrdinaryUser
from tools.bases import debian_rootfs, kept_files

pytestmark = pytest.mark.root


@pytest.fixture
def ours(tmp_path: Path) -> Builder:
    """The command under test, as root."""
    return Builder(command=default_command(), store=tmp_path / "store")


@pytest.fixture
def theirs(user: OrdinaryUser, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """The command under test as an ordinary user, who can read the base images made by root."""
    debian_rootfs("nodejs", "npm")
    cache = user.home / "cache"
    shutil.copytree(kept_files(), cache / "lamina-bases", dirs_exist_ok=True)
    user.own(cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return Builder(command=user.lamina(), store=user.home / "store")


def work_of(user: OrdinaryUser, name: str) -> Path:
    folder = user.home / name
    folder.mkdir()
    return folder


def test_order_your_layers(ours: Builder, tmp_path: Path) -> None:
    """In the good order, a changed source file does not install the dependencies again."""
    order_your_layers(ours, tmp_path)


def test_use_bind_mounts(ours: Builder, tmp_path: Path) -> None:
    """A bind mount is seen by its own step alone."""
    use_bind_mounts(ours, tmp_path)


def test_keep_downloads(ours: Builder, tmp_path: Path) -> None:
    """A seventh package downloads itself and its own dependencies, nothing else."""
    keep_downloads(ours, tmp_path)


def test_order_your_layers_as_a_user(theirs: Builder, user: OrdinaryUser) -> None:
    """The first story holds for a user without privileges."""
    order_your_layers(theirs, work_of(user, "order"))


def test_use_bind_mounts_as_a_user(theirs: Builder, user: OrdinaryUser) -> None:
    """The second story holds for a user without privileges."""
    use_bind_mounts(theirs, work_of(user, "bind"))
