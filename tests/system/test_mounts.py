"""Overlays by both interfaces of the kernel."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.fs import overlay
from lamina.fs.overlay import mount_overlay
from lamina.fs.syscalls import private_mounts, unmount

pytestmark = pytest.mark.root

Check = Callable[[], None]


def in_namespace(check: Check) -> None:
    """Runs `check` in a process with mounts of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            private_mounts()
            check()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture(params=["one by one", "in a page"])
def _interface(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time as on a kernel before 6.7."""
    if request.param == "in a page":
        monkeypatch.setattr(overlay, "_one_by_one", lambda *_: False)


def layers(top: Path, *names: str) -> tuple[str, ...]:
    for name in names:
        (top / name).mkdir()
        (top / name / "who").write_text(name)
        (top / name / f"only-{len(name)}").write_text(name)
    return tuple(str(top / name) for name in names)


def show(lower: tuple[str, ...], target: str) -> None:
    """Mounts read-only."""
    mount_overlay(lower, target, upper=None, work=None, user_namespace=False)


@pytest.mark.usefixtures("_interface")
def test_overlay(tmp_path: Path) -> None:
    """The highest layer wins, writes go to the upper directory, and nothing is left mounted."""
    lower = layers(tmp_path, "a", "bb", "c:c,c\\c", "d" * 200)
    upper, work, target = layers(tmp_path, "upper", "work", "target")
    os.unlink(f"{upper}/who")

    def check() -> None:
        mount_overlay(lower, target, upper=upper, work=work, user_namespace=False)
        assert Path(target, "who").read_text() == "a"
        assert Path(target, "only-200").read_text() == "d" * 200
        Path(target, "new").write_text("x")
        unmount(target)
        assert Path(target, "who").read_text() == "target"

    in_namespace(check)
    assert Path(upper, "new").exists()


@pytest.mark.usefixtures("_interface")
def test_read_only(tmp_path: Path) -> None:
    """Without an upper directory nothing can be written, with one layer or two."""
    lower = layers(tmp_path, "a", "bb")
    (target,) = layers(tmp_path, "target")
    os.mknod(f"{lower[0]}/gone", 0o020000, 0)

    def check() -> None:
        for count in (1, 2):
            show(lower[:count], target)
            assert "gone" not in os.listdir(target)
            with pytest.raises(OSError) as refused:
                Path(target, "new").write_text("x")
            assert refused.value.errno == errno.EROFS
            unmount(target)

    in_namespace(check)


def test_too_many_layers(tmp_path: Path) -> None:
    """What no kernel takes is refused with its reason."""
    (target,) = layers(tmp_path, "target")
    lower = layers(tmp_path, *(f"layer{number}" for number in range(501)))

    def check() -> None:
        with pytest.raises(OSError):
            show(lower, target)
        with pytest.raises(OSError):
            overlay._in_a_page(lower, target, [], [])
        show(lower[:400], target)
        assert Path(target, "who").read_text() == "layer0"

    in_namespace(check)


def test_missing_directory(tmp_path: Path) -> None:
    """A layer that is not there is named."""
    (target,) = layers(tmp_path, "target")

    def check() -> None:
        with pytest.raises(OSError, match="nowhere") as failed:
            show((str(tmp_path / "nowhere"), target), target)
        assert failed.value.errno == errno.ENOENT

    in_namespace(check)
