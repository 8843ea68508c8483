"""The `lamina` command under test, with a store of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.commands import Outcome, run

COMMAND = Path(sys.executable).parent / "lamina"
NOT_FOR_TESTS = ("LAMINA_ROOT", "SOURCE_DATE_EPOCH", "DOCKER_CONFIG", "SSH_AUTH_SOCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamina:
    """Runs `lamina --root STORE …`; `bases` maps names of base images to OCI layouts."""

    store: Path
    bases: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()

    def command(self, *arguments: str | Path) -> list[str]:
        words = [str(word) for word in arguments]
        return [*self.wrapper, str(COMMAND), "--root", str(self.store), *words]

    def build_command(self, context: str | Path, *options: str | Path) -> list[str]:
        """`lamina build` of a context folder, in which the base images go by their names."""
        named = [f"--build-context={name}=oci-layout://{path}" for name, path in self.bases.items()]
        return self.command("build", "--progress=plain", *named, *options, context)

    def run(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        timeout: float = 300,
    ) -> Outcome:
        return run(self.command(*arguments), cwd=cwd, env=self.env(), stdin=stdin, timeout=timeout)

    def build(
        self,
        context: str | Path,
        *options: str | Path,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        timeout: float = 300,
    ) -> Outcome:
        command = self.build_command(context, *options)
        return run(command, cwd=cwd, env=self.env(), stdin=stdin, timeout=timeout)

    def start(self, command: list[str], *, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start one of the commands above in a process group of its own, to be killed by a test."""
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def env(self) -> dict[str, str]:
        """This process's environment less what would change a build, plus the test's own."""
        kept = {name: value for name, value in os.environ.items() if name not in NOT_FOR_TESTS}
        return {**kept, **self.environment}
