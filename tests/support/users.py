"""Ordinary users of this machine, made for a test and removed after it.

A checkout and its Python may lie where only root can look (`/root`). Commands of the user therefore
run in a mount namespace of their own, in which both are also found under the user's home.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import Outcome, program, run

CHECKOUT = Path(__file__).resolve().parents[2]
SUBORDINATE = 65536  # ids, as useradd gives them
FIRST_SUBORDINATE = 2_000_000_000  # above what useradd hands out
ENTER = """\
set -e
home=$1 python=$2 checkout=$3 name=$4; shift 4
mount --bind "$python" "$home/python"
mount --bind "$checkout" "$home/checkout"
exec runuser -u "$name" -- "$@"
"""
MAIN = "import sys; from lamina.cli.main import main; sys.exit(main())"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdinaryUser:
    """A user with a home that everything of theirs goes into."""

    name: str
    home: Path

    def run(self, *command: str | Path, cwd: Path | None = None, timeout: float = 300) -> Outcome:
        """Run a command as this user, to its end."""
        words = [*self.enter(), *command]
        return run(words, cwd=cwd or self.home, env=self.env(), timeout=timeout)

    def lamina(self) -> tuple[str, ...]:
        """The words before `--root`: the command under test, run as this user."""
        libraries = Path(sys.prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}")
        places = [CHECKOUT / "src", libraries / "site-packages"]
        inside = [str(self.home / "checkout" / path.relative_to(CHECKOUT)) for path in places]
        python = self.home / "python/bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        env = {**self.env(), "PYTHONPATH": os.pathsep.join(inside)}
        settings = [f"{name}={value}" for name, value in env.items()]
        return (*self.enter(), "env", "-i", *settings, str(python), "-P", "-c", MAIN)

    def enter(self) -> list[str]:
        words = [program("unshare"), "--mount", "--propagation=slave", "sh", "-c", ENTER, "enter"]
        return [*words, str(self.home), sys.base_prefix, str(CHECKOUT), self.name]

    def env(self) -> dict[str, str]:
        """What a login would set."""
        path = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        return {**path, "HOME": str(self.home), "USER": self.name, "TMPDIR": str(self.home / "tmp")}

    def own(self, path: Path) -> Path:
        """Give a tree to this user."""
        run(["chown", "-R", f"{self.name}:", path]).must_succeed()
        return path


@contextlib.contextmanager
def ordinary_user(label: str, *, subordinate_ids: bool) -> Iterator[OrdinaryUser]:
    """Create a user with a range of subordinate ids, or with none."""
    assert os.geteuid() == 0, "only root can create users: run the tests as root"
    name = f"lamina-{label}-{os.getpid()}"
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/var/tmp"))
    useradd = [program("useradd", package="passwd"), "--system", "--user-group"]
    run([*useradd, "--home-dir", home, "--shell", "/bin/sh", name]).must_succeed()
    try:
        if subordinate_ids:
            program("newuidmap", package="uidmap")
            first = FIRST_SUBORDINATE + os.getpid() % 1000 * SUBORDINATE
            ids = f"{first}-{first + SUBORDINATE - 1}"
            run(["usermod", "--add-subuids", ids, "--add-subgids", ids, name]).must_succeed()
        user = OrdinaryUser(name=name, home=home)
        for folder in ("tmp", "python", "checkout"):
            (home / folder).mkdir()
        user.own(home)
        yield user
    finally:
        run(["userdel", name])
        shutil.rmtree(home)
