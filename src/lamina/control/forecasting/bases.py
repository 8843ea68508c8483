"""Base images for a forecast: those at hand, and a stand-in for every other one.

No registry is asked. A stand-in is known by its name alone, so it never changes; its environment,
its user, its folders and its ONBUILD triggers are not known.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lamina.content.errors import NotFound
from lamina.content.source import CountBytes, ResolvedImage
from lamina.content.store import BlobStore
from lamina.control.building.bases import ImageBases
from lamina.control.store import Store
from lamina.dockerfile.base import Base
from lamina.dockerfile.environment import DEFAULT_PATH
from lamina.graph.ops import HttpOp, ImageOp, LocalOp
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Layer, Stack
from lamina.oci import mediatype
from lamina.oci.config import ContainerConfig, ImageConfig
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference
from lamina.trace.recorder import Recorder


class ForecastBases:
    """Implements lamina.dockerfile.base.Bases. `missing` are the images that have a stand-in, by
    their familiar names.
    """

    def __init__(self, store: Store, contexts: Mapping[str, str]) -> None:
        self.missing: dict[str, None] = {}
        self._images = ImageBases(
            store=store,
            recorder=Recorder(()),
            contexts=contexts,
            pull=False,
            registry=_Nowhere,
        )

    def stack(self, op: ImageOp) -> Stack:
        """The layers of an image that was resolved."""
        return self._images.stacks[op.digest, op.platform]

    def image(self, reference: Reference, platform: Platform, *, name: str) -> Base:
        try:
            return self._images.image(reference, platform, name=name)
        except NotFound:
            return self._stand_in(reference, platform, name)

    def modified(self, source: HttpOp | LocalOp) -> int | None:
        """Directories have no time of their own, and no server is asked."""
        return None

    def has_context(self, name: str, platform: Platform) -> bool:
        return self._images.has_context(name, platform)

    def named_context(self, name: str, platform: Platform) -> Base | None:
        return self._images.named_context(name, platform)

    def _stand_in(self, reference: Reference, platform: Platform, name: str) -> Base:
        self.missing[reference.familiar] = None
        digest = digest_of(f"stand-in for {reference} {platform}".encode())
        blob = Descriptor(media_type=mediatype.LAYER_GZIP, digest=digest, size=0)
        self._images.stacks[digest, platform] = (Layer(id=digest, blob=blob, origin="stand-in"),)
        op = ImageOp(reference=str(reference), digest=digest, platform=platform)
        config = ImageConfig(
            os=platform.os,
            architecture=platform.architecture,
            config=ContainerConfig(env=(f"PATH={DEFAULT_PATH}",)),
        )
        return Base(vertex=Vertex(op=op, name=name), config=config)


class _Nowhere(msgspec.Struct, frozen=True):
    """The registry of those who ask none."""

    def resolve(self, reference: Reference, platform: Platform) -> ResolvedImage:
        raise NotFound(f"{reference.familiar} is not in the local store")

    def fetch(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        progress: CountBytes | None = None,
    ) -> None:
        raise NotFound(f"{reference.familiar} is not in the local store")
