"""The builders that are compared: one file an adapter, the same verbs for each."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tests.support.commands import Outcome, run


class CannotRun(Exception):
    """A builder cannot be measured on this machine; the message says why, for the report."""


class Output(Enum):
    """Where a build's result goes; the value is what a table calls it."""

    STORE = "store"  # the builder's own
    GZIP = "gzip archive"  # an OCI archive
    ZSTD = "zstd archive"
    PLAIN = "uncompressed archive"
    FOLDER = "folder"  # the root file system's files


BUILDKIT_OUTPUTS = {
    Output.GZIP: "type=oci,dest={}",
    Output.ZSTD: "type=oci,compression=zstd,force-compression=true,dest={}",
    Output.PLAIN: "type=oci,compression=uncompressed,force-compression=true,dest={}",
    Output.FOLDER: "type=local,dest={}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """One base image, twice: as a tar of its root file system and as an OCI layout (`latest`)."""

    name: str
    tar: Path
    layout: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One build. `dest` is a file or a folder that does not exist yet, unused for STORE."""

    context: Path
    dest: Path
    output: Output = Output.STORE
    tag: str = "bench"
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    bases: tuple[Base, ...] = ()

    def options(self) -> list[str]:
        """Build arguments and secrets, which all builders spell alike."""
        given = [f"--build-arg={name}={value}" for name, value in self.arguments.items()]
        return [*given, *(f"--secret=id={name},src={path}" for name, path in self.secrets.items())]


class Builder(ABC):
    """A builder with state of its own."""

    name: str
    version: str
    flags: str

    @abstractmethod
    def fresh(self, bases: Sequence[Base]) -> None:
        """Forget everything but these base images."""

    @abstractmethod
    def command(self, job: Job) -> list[str]:
        """Build with the layer cache. Raises CannotRun for an output that it does not have."""

    @abstractmethod
    def env(self) -> Mapping[str, str]: ...

    def servers(self) -> list[int]:
        """The daemons that work for it, whose time and memory count, too."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Forget everything."""


def processes(*names: str) -> list[int]:
    """The processes of this machine that run one of these programs."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() in names:
                found.append(int(comm.parent.name))
        except OSError:  # it ended while we looked
            continue
    return found


def ask(*command: str) -> Outcome:
    """Run a command in this process's environment."""
    return run(list(command), env=dict(os.environ))
