"""Parts of the executors that need root: overlays on old kernels, refused user namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.users import OrdinaryUser

pytestmark = pytest.mark.root

SOURCES = str(Path(__file__).resolve().parents[2] / "src")

MOUNT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from lamina.fs import overlay, syscalls
way, place, count = sys.argv[2], sys.argv[3], int(sys.argv[4])
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
os.chdir(place)
layers = tuple(os.path.join(place, "layers", str(n), "d:i,f\\\\f") for n in range(count))
places = [("upperdir", place + "/up,per"), ("workdir", place + "/work")]
getattr(overlay, way)(layers, place + "/target", places, ["volatile"])
os.chdir(place + "/target")
print(len(os.listdir(".")), open("same").read(), sep=",")
open("new", "w").close()
"""


def _layers(place: Path, count: int) -> None:
    for number in range(count):
        layer = place / "layers" / str(number) / "d:i,f\\f"
        layer.mkdir(parents=True)
        (layer / f"file{number}").write_text("")
        (layer / "same").write_text(str(number))
    for name in ("up,per", "work", "target"):
        (place / name).mkdir()


@pytest.mark.parametrize("way", ["_one_by_one", "_in_a_page"])
def test_overlay(tmp_path: Path, way: str) -> None:
    """Both ways to mount show the same: many layers, the first on top, whatever their names."""
    _layers(tmp_path, 40)
    words = [sys.executable, "-I", "-S", "-c", MOUNT, SOURCES, way, str(tmp_path), "40"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.stdout == "41,0\n", ran.stderr
    assert os.listdir(tmp_path / "up,per") == ["new"]


def test_overlay_of_too_many_layers(tmp_path: Path) -> None:
    """What does not fit into a page of options is refused with the number of layers."""
    _layers(tmp_path, 300)
    words = [sys.executable, "-I", "-S", "-c", MOUNT, SOURCES, "_in_a_page", str(tmp_path), "300"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "300 layers are too many for this kernel" in ran.stderr


def test_refused_user_namespace(user: OrdinaryUser) -> None:
    """Where the kernel allows no user namespace, the one setting to change is named."""
    forbid = (
        "echo 0 > /proc/sys/user/max_user_namespaces && "
        'exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@"'
    )
    enter = (
        "from lamina.executor.userns import NoUserNamespace, enter_user_namespace\n"
        "try: enter_user_namespace()\n"
        "except NoUserNamespace as error: print(error.message, '|', error.hint)"
    )
    login = user.lamina()
    command = login[login.index("env") :][:-2]
    words = [*user.enter(), "unshare", "--map-root-user", "sh", "-c", forbid, "sh", *command]
    ran = subprocess.run([*words, "-c", enter], capture_output=True, text=True, check=False)
    assert "sysctl -w user.max_user_namespaces=15000" in ran.stdout, ran
