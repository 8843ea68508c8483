"""The image configuration while a stage writes it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from lamina.dockerfile.environment import DEFAULT_PATH
from lamina.oci.config import ContainerConfig, Healthcheck, History, ImageConfig
from lamina.oci.platform import Platform

HISTORY_COMMENT = "buildkit.dockerfile.v0"


class ConfigDraft(msgspec.Struct):
    """A configuration that instructions change; `freeze` gives the document.

    `command_set` is true once this Dockerfile has set CMD: then ENTRYPOINT does not clear it.
    """

    image: ImageConfig
    user: str = ""
    working_dir: str = ""
    env: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] | None = None
    ports: dict[str, dict[str, str]] | None = None
    volumes: dict[str, dict[str, str]] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    shell: tuple[str, ...] | None = None
    onbuild: tuple[str, ...] = ()
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    author: str = ""
    history: list[History] = msgspec.field(default_factory=list)
    command_set: bool = False

    @classmethod
    def of(cls, image: ImageConfig) -> ConfigDraft:
        """A draft that starts as the configuration of an image."""
        config = image.config
        return cls(
            image=image,
            user=config.user,
            working_dir=config.working_dir,
            env=dict(_split(pair) for pair in config.env or ()),
            labels=dict(config.labels) if config.labels is not None else None,
            ports=dict(config.exposed_ports) if config.exposed_ports is not None else None,
            volumes=dict(config.volumes) if config.volumes is not None else None,
            entrypoint=config.entrypoint,
            cmd=config.cmd,
            shell=config.shell,
            onbuild=config.on_build or (),
            stop_signal=config.stop_signal,
            args_escaped=config.args_escaped,
            healthcheck=config.healthcheck,
            author=image.author,
            history=list(image.history or ()),
        )

    def inherit(self) -> ConfigDraft:
        """The draft of a stage that is built on this one. Triggers are not passed on."""
        return ConfigDraft.of(replace(self.freeze(), config=self._config(onbuild=())))

    def commit(self, text: str, *, layer: bool, created: str | None) -> None:
        """Add a line of history. `layer` says whether the instruction made one."""
        self.history.append(
            History(
                created=created, created_by=text, comment=HISTORY_COMMENT, empty_layer=not layer
            )
        )

    def freeze(self) -> ImageConfig:
        """The configuration as it is now."""
        return replace(
            self.image,
            author=self.author,
            config=self._config(onbuild=self.onbuild),
            history=tuple(self.history),
        )

    def _config(self, *, onbuild: tuple[str, ...]) -> ContainerConfig:
        return ContainerConfig(
            user=self.user,
            exposed_ports=self.ports,
            env=tuple(f"{name}={value}" for name, value in self.env.items()) or None,
            entrypoint=self.entrypoint,
            cmd=self.cmd,
            volumes=self.volumes,
            working_dir=self.working_dir,
            labels=self.labels,
            stop_signal=self.stop_signal,
            args_escaped=self.args_escaped,
            healthcheck=self.healthcheck,
            on_build=onbuild or None,
            shell=self.shell,
        )


def empty_image(platform: Platform) -> ImageConfig:
    """The configuration of `scratch`."""
    env = () if platform.os == "windows" else (f"PATH={DEFAULT_PATH}",)
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        os_version=platform.os_version,
        os_features=platform.os_features,
        variant=platform.variant,
        config=ContainerConfig(working_dir="/", env=env or None),
    )


def _split(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value
