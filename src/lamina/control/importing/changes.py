"""`lamina import --change`: instructions of a Dockerfile that change a configuration alone.

They go the way of a whole Dockerfile, so they mean the same there and here.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lamina.dockerfile.base import Base
from lamina.dockerfile.lower import lower
from lamina.dockerfile.request import LoweringRequest
from lamina.errors import UsageError, UserError
from lamina.graph.ops import HttpOp, LocalOp, ScratchOp
from lamina.graph.vertex import Vertex
from lamina.notation.suggest import nearest
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference
from lamina.source import SourceFile

_INSTRUCTIONS = (
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
)


def changed_config(
    config: ImageConfig, changes: Sequence[str], *, platform: Platform
) -> ImageConfig:
    """The configuration after the instructions. Its history stays. Raises UsageError."""
    if not changes:
        return config
    for change in changes:
        _check(change)
    text = "\n".join(["FROM image", *changes, ""])
    request = LoweringRequest(
        dockerfile=SourceFile(name="--change", text=text), build_platform=platform
    )
    plain = replace(config, config=replace(config.config, on_build=None), history=())
    try:
        lowered = lower(request, _Standing(plain))
    except UserError as error:
        raise UsageError(f"--change: {error.message}", hint=error.hint) from None
    on_build = (*(config.config.on_build or ()), *(lowered.config.config.on_build or ()))
    changed = replace(lowered.config.config, on_build=on_build or None)
    return replace(config, config=changed)


def _check(change: str) -> None:
    words = change.split(None, 1)
    keyword = words[0].upper() if words else ""
    if keyword not in _INSTRUCTIONS:
        near = nearest(keyword, _INSTRUCTIONS)
        raise UsageError(
            f"--change: {change!r} is not an instruction that changes an image's configuration"
            + (f" (did you mean {near}?)" if near else ""),
            hint=f"there are {', '.join(_INSTRUCTIONS)}",
        )
    if "\n" in change or change.endswith("\\"):
        raise UsageError(f"--change: {change!r} is more than one line")


class _Standing:
    """Every name stands for the image that is changed."""

    def __init__(self, config: ImageConfig) -> None:
        self._base = Base(vertex=Vertex(op=ScratchOp()), config=config)

    def image(self, reference: Reference, platform: Platform, *, name: str) -> Base:
        return self._base

    def has_context(self, name: str, platform: Platform) -> bool:
        return False

    def named_context(self, name: str, platform: Platform) -> Base | None:
        return None

    def modified(self, source: HttpOp | LocalOp) -> int | None:
        return None
