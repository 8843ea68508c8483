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
        """Build a context with the layer cache; into a gzip-compressed OCI archive, or nowhere."""

    @abstractmethod
    def env(self) -> Mapping[str, str]: ...

    @abstractmethod
    def close(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class LaminaBuilder(Builder):
    """Lamina, as it comes."""

    state: Path
    base: Path
    name: str = "lamina"

    def fresh(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)

    def command(self, context: Path, archive: Path | None) -> Sequence[str]:
        to = f"type=oci,dest={archive}" if archive else "type=cacheonly"
        return self._lamina.build_command(context, f"--output={to}")

    def env(self) -> Mapping[str, str]:
        return self._lamina.env()

    def close(self) -> None:
        self.fresh()

    @property
    def _lamina(self) -> Lamina:
        return Lamina(store=self.state, bases={"busybox": self.base})


@dataclass(slots=True, kw_only=True)
class BuildahBuilder(Builder):
    """Buildah in the way that works on this machine, with its layer cache switched on."""

    state: Path
    base: Path
    name: str = "buildah"
    _buildah: Buildah = field(init=False)

    def fresh(self) -> None:
        self.close()
        self.state.mkdir(parents=True)
        self._buildah = working_buildah(self.state, {"busybox": self.base})

    def command(self, context: Path, archive: Path | None) -> Sequence[str]:
        to = ["--disable-compression=false", f"--tag=oci-archive:{archive}"] if archive else []
        return self._buildah.build_command(context, "--layers", *to)

    def env(self) -> Mapping[str, str]:
        return self._buildah.env()

    def close(self) -> None:
        if self.state.exists():
            release(self.state)
            shutil.rmtree(self.state)
