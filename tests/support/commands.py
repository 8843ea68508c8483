"""Running programs in tests: every failure shows the whole command and what it said."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a command."""

    command: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """Everything it printed."""
        return self.stdout + self.stderr

    def must_succeed(self) -> Outcome:
        assert self.code == 0, f"{shlex.join(self.command)}: exit code {self.code}\n{self.said}"
        return self

    def must_fail(self) -> Outcome:
        """It failed by its own will: no crash, no traceback."""
        assert 0 < self.code < 126, (
            f"{shlex.join(self.command)}: exit code {self.code}\n{self.said}"
        )
        assert "Traceback (most recent call last)" not in self.said, self.said
        return self


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float = 300,
) -> Outcome:
    """Run a command to its end; `env` replaces the whole environment."""
    words = tuple(str(word) for word in command)
    with subprocess.Popen(
        words,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Outcome(
        command=words,
        code=process.returncode,
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
    )


def program(name: str, *, package: str | None = None) -> str:
    """Where a program is; an AssertionError names the package that holds it."""
    found = shutil.which(name) or shutil.which(name, path=PATH)
    assert found, f"{name} is missing: apt-get install {package or name} (`make setup` does it)"
    return found
