"""Lowering without images: every name is an image that exists, or what a test says it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lamina.dockerfile.base import Base
from lamina.dockerfile.lower import lower
from lamina.dockerfile.request import Lowered, LoweringRequest
from lamina.graph.ops import HttpOp, ImageOp, LocalOp
from lamina.graph.vertex import Vertex
from lamina.oci.config import ImageConfig
from lamina.oci.digest import digest_of
from lamina.oci.platform import Platform, parse_platform
from lamina.oci.reference import Reference
from lamina.source import SourceFile

HERE = Platform(os="linux", architecture="amd64")


@dataclass(kw_only=True)
class Images:
    """Images by familiar name (others are empty), named contexts, and the times of sources.

    `asked` lists the images and contexts that were resolved.
    """

    configs: Mapping[str, ImageConfig] = field(default_factory=dict)
    contexts: Mapping[str, Base] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def image(self, reference: Reference, platform: Platform, *, name: str) -> Base:
        short = reference.familiar.removesuffix(":latest")
        self.asked.append(short)
        op = ImageOp(reference=str(reference), digest=digest_of(b""), platform=platform)
        empty = ImageConfig(architecture=platform.architecture, os=platform.os)
        return Base(vertex=Vertex(op=op, name=name), config=self.configs.get(short, empty))

    def modified(self, source: HttpOp | LocalOp) -> int | None:
        return self.times.get(source.url if isinstance(source, HttpOp) else source.name)

    def has_context(self, name: str, platform: Platform) -> bool:
        return name in self.contexts

    def named_context(self, name: str, platform: Platform) -> Base | None:
        found = self.contexts.get(name)
        if found is not None:
            self.asked.append(name)
        return found


def lowered(
    text: str,
    *,
    images: Images | None = None,
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    platform: str = "",
    no_cache_stages: tuple[str, ...] = (),
) -> Lowered:
    request = LoweringRequest(
        dockerfile=SourceFile("Dockerfile", text),
        target=target,
        build_args=build_args or {},
        build_platform=HERE,
        platform=parse_platform(platform, host=HERE) if platform else None,
        no_cache_stages=no_cache_stages,
    )
    return lower(request, images or Images())
