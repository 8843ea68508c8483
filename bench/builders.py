"""The builders that are compared: the same three verbs for each."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.buildah import Buildah, release, working_buildah
from tests.support.lamina import Lamina


class Builder(ABC):
    """A builder with state in a folder of its own."""

    name: str

    @abstractmethod
    def fresh(self) -> None:
        """Forget everything but the base image."""

    @abstractmethod
    def command(self, context: Path, archive: Path | None) -> Sequence[str]:
        """Build with the layer cache, into a gzip-compressed OCI archive or the builder's store."""

    @abstractmethod
    def env(self) -> Mapping[str, str]: ...

    @abstractmethod
    def close(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class LaminaBuilder(Builder):
    """Lamina, as it comes."""

    state: Path
    rootfs: Path
    name: str = "lamina"

    def fresh(self) -> None:
        self.close()
        self._lamina.run("import", self.rootfs, "busybox").must_succeed()

    def command(self, context: Path, archive: Path | None) -> Sequence[str]:
        to = f"--output=type=oci,dest={archive}" if archive else "--tag=bench"
        return self._lamina.build_command(context, to)

    def env(self) -> Mapping[str, str]:
        return self._lamina.env()

    def close(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def _lamina(self) -> Lamina:
        return Lamina(store=self.state)


@dataclass(slots=True, kw_only=True)
class BuildahBuilder(Builder):
    """Buildah in the way that works on this machine, with its layer cache switched on."""

    state: Path
    layout: Path
    name: str = "buildah"
    _buildah: Buildah = field(init=False)

    def fresh(self) -> None:
        self.close()
        self.state.mkdir(parents=True)
        self._buildah = working_buildah(self.state, {"busybox": self.layout})

    def command(self, context: Path, archive: Path | None) -> Sequence[str]:
        to = ["--disable-compression=false", f"--tag=oci-archive:{archive}"]
        if archive is None:
            to = ["--tag=localhost/bench"]
        return self._buildah.build_command(context, "--layers", *to)

    def env(self) -> Mapping[str, str]:
        return self._buildah.env()

    def close(self) -> None:
        if self.state.exists():
            release(self.state)
            shutil.rmtree(self.state)
