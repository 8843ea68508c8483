"""Base images and named contexts: what a name in a Dockerfile stands for.

An image is looked for in the local store first (unless --pull), then in its registry. What was
found there is remembered in the store under its name, as `docker pull` does, so the next build asks
nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Protocol

import msgspec
from msgspec.structs import replace

from lamina.content.errors import NotFound
from lamina.content.layout import open_layout, parse_layout_address
from lamina.content.source import ImageSource, ResolvedImage
from lamina.control.store import Store
from lamina.dockerfile.base import Base
from lamina.dockerfile.draft import empty_image
from lamina.dockerfile.sources import WEB
from lamina.errors import HostError, UserError
from lamina.exporter.blobs import ORIGIN, UNWRITTEN
from lamina.graph.ops import HttpOp, ImageOp, LocalOp, ScratchOp
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Layer, Stack
from lamina.oci.config import ImageConfig
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference, parse_reference
from lamina.trace.recorder import Progress, Recorder

_LAYOUT, _IMAGE = "oci-layout://", "docker-image://"


def _timeless(source: HttpOp | LocalOp) -> None:
    """The times of sources, where nobody asks for them."""


class LayerCaches(Protocol):
    """Brings layers from external caches (`control.caching.imports`)."""

    def reachable(self, layer: Layer) -> bool:
        """Whether the layer is said to be in one of them."""
        ...

    def fetch(self, layer: Layer, progress: Progress) -> bool:
        """Brings its blob into the blob store; False where it is in none of them."""
        ...


class ImageOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """What an image was asked for as, and what that was found to mean. `local`: in a layout."""

    reference: Reference
    digest: Digest
    local: bool


class ImageBases(msgspec.Struct):
    """Resolves names for the lowering, and fetches the layers of what it resolved.

    `contexts` are the values of --build-context by familiar name, `times` knows when sources were
    last changed. `caches` are the external caches of this build. `configs` are the configurations
    of what was resolved, by the names that were asked for.
    """

    store: Store
    recorder: Recorder
    contexts: Mapping[str, str]
    pull: bool
    registry: Callable[[], ImageSource]
    times: Callable[[HttpOp | LocalOp], int | None] = _timeless
    stacks: dict[tuple[Digest, Platform], Stack] = msgspec.field(default_factory=dict)
    origins: dict[ImageOp, ImageOrigin] = msgspec.field(default_factory=dict)
    configs: dict[str, ImageConfig] = msgspec.field(default_factory=dict)
    caches: LayerCaches | None = None
    _sources: dict[Digest, tuple[ImageSource, Reference]] = msgspec.field(default_factory=dict)
    _resolved: dict[tuple[str, Platform], Base] = msgspec.field(default_factory=dict)
    _times: dict[HttpOp | LocalOp, int | None] = msgspec.field(default_factory=dict)

    def image(self, reference: Reference, platform: Platform, *, name: str) -> Base:
        known = self._resolved.get((str(reference), platform))
        if known is not None:
            return known
        with self.recorder.internal(f"load metadata for {reference}"):
            source, image = self._find(reference, platform)
        local = source is self.store.images
        origin = _top(image).annotations.get(ORIGIN, "") if local else _origin(reference, image)
        base = self._base(source, reference, image, origin=origin, name=name)
        self._note_config(str(reference), base, platform)
        self._note_origin(base, reference, image, local=False)
        self._resolved[str(reference), platform] = base
        return base

    def has_context(self, name: str, platform: Platform) -> bool:
        return self._context(name, platform) is not None

    def named_context(self, name: str, platform: Platform) -> Base | None:
        value = self._context(name, platform)
        if value is None:
            return None
        base = self._named(name, value, platform)
        self._note_config(name, base, platform)
        return base

    def _named(self, name: str, value: str, platform: Platform) -> Base:
        if value.startswith(_LAYOUT):
            return self._layout(name, value, platform)
        if value.startswith(_IMAGE):
            return self._other_image(name, value.removeprefix(_IMAGE), platform)
        if value.startswith(WEB):
            return Base(
                vertex=Vertex(
                    op=HttpOp(url=value, filename="context"), name=f"[context {name}] {value}"
                )
            )
        if value.startswith("target:"):
            raise UserError(f"--build-context {name}={value}: target: is for bake files")
        if not os.path.isdir(value):
            raise UserError(f"--build-context {name}={value}: there is no such directory")
        label = f"[context {familiar(name)}] load from client"
        return Base(vertex=Vertex(op=LocalOp(name=familiar(name)), name=label))

    def modified(self, source: HttpOp | LocalOp) -> int | None:
        if source not in self._times:
            self._times[source] = self.times(source)
        return self._times[source]

    def fetch(self, layer: Layer, progress: Progress) -> None:
        """Bring a layer's blob into the store (ops.stacks.Fetch)."""
        blob = layer.blob
        if blob is None or self.store.blobs.has(blob.digest, blob.size):
            return
        if self.caches is not None and self.caches.fetch(layer, progress):
            return
        arrived = 0

        def count(more: int) -> None:
            nonlocal arrived
            arrived += more
            progress(arrived, blob.size)

        source, reference = self._sources.get(blob.digest) or self._from_origin(layer.origin)
        source.fetch(reference, blob, self.store.blobs, progress=count)

    def has_layer(self, layer: Layer) -> bool:
        """Whether a layer is one of the base images' (ops.stacks.Stacks)."""
        stacks = tuple(self.stacks.values())  # steps run while others are resolved
        return any(layer.id == each.id for stack in stacks for each in stack)

    def reachable(self, layer: Layer) -> bool:
        """Whether there is a way to the external cache that a layer is in (ops.stacks.Stacks).

        Registries and layouts tell by their names alone how to fetch from them, and so need not be
        named by this build.
        """
        if self.caches is not None and self.caches.reachable(layer):
            return True
        return layer.origin.startswith(_LAYOUT) or "://" not in (layer.origin or "://")

    def _context(self, name: str, platform: Platform) -> str | None:
        short = familiar(name)
        return self.contexts.get(f"{short}::{platform}") or self.contexts.get(short)

    def _find(self, reference: Reference, platform: Platform) -> tuple[ImageSource, ResolvedImage]:
        images = self.store.images
        if not self.pull:
            try:
                return images, images.resolve(reference, platform)
            except NotFound:
                pass
        registry = self.registry()
        image = registry.resolve(reference, platform)
        self.remember(reference, image)
        return registry, image

    def remember(self, reference: Reference, image: ResolvedImage) -> None:
        """Keep the documents of a pulled image, and its name; its layers come when they are
        needed.
        """
        self.store.blobs.put(image.config_data)
        self.store.blobs.put(image.manifest_data)
        said = {k: v for k, v in image.descriptor.annotations.items() if k != UNWRITTEN}
        annotations = {**said, ORIGIN: _origin(reference, image)}
        descriptor = replace(image.descriptor, annotations=annotations, platform=image.platform)
        self.store.images.tag(reference, descriptor)

    def _layout(self, name: str, value: str, platform: Platform) -> Base:
        path, reference = parse_layout_address(value.removeprefix(_LAYOUT))
        with self.recorder.internal(f"load metadata for {name} from {path}"):
            source = open_layout(path)
            image = source.resolve(reference, platform)
        label = f"[context {familiar(name)}] {image.digest}"
        base = self._base(source, reference, image, origin=value, name=label)
        self._note_origin(base, parse_reference(familiar(name)), image, local=True)
        return base

    def _note_config(self, name: str, base: Base, platform: Platform) -> None:
        self.configs.setdefault(name, base.config or empty_image(platform))

    def _other_image(self, name: str, value: str, platform: Platform) -> Base:
        if value == "scratch":
            return Base(vertex=Vertex(op=ScratchOp()))
        reference = parse_reference(value).with_default_tag()
        return self.image(reference, platform, name=f"[context {familiar(name)}] {reference}")

    def _note_origin(
        self, base: Base, reference: Reference, image: ResolvedImage, *, local: bool
    ) -> None:
        assert isinstance(base.vertex.op, ImageOp)
        origin = ImageOrigin(reference=reference, digest=image.digest, local=local)
        self.origins[base.vertex.op] = origin

    def _base(
        self,
        source: ImageSource,
        reference: Reference,
        image: ResolvedImage,
        *,
        origin: str,
        name: str,
    ) -> Base:
        digest = image.descriptor.digest
        self.stacks[digest, image.platform] = self._stack(source, reference, image, origin)
        op = ImageOp(reference=str(reference), digest=digest, platform=image.platform)
        label = name if "@" in name or name.startswith("[context") else f"{name}@{image.digest}"
        return Base(vertex=Vertex(op=op, name=label), config=image.config)

    def _stack(
        self, source: ImageSource, reference: Reference, image: ResolvedImage, origin: str
    ) -> Stack:
        """An image's layers. Those that were made here are known by what they hold.

        Only an image that was made here says where each of its layers came from. What another says
        there is anybody's word, and must not choose whom a later build asks for a layer.
        """
        ours = source is self.store.images and UNWRITTEN in _top(image).annotations
        stack = []
        for layer in image.layers:
            own = self.store.index.layer_of(layer.diff_id)
            if own is not None and self.store.layers.has(own):
                stack.append(Layer(id=own))
                continue
            if layer.descriptor.digest == layer.diff_id:
                # Named by its plain tar, which was never here: an external cache has the layer.
                foreign = self.store.index.claimed(layer.diff_id)
                if foreign is not None and not self.store.layers.has(foreign.id):
                    stack.append(foreign)  # and will be checked when it comes
                    continue
            if source is not self.store.images:  # which may have a layer's name, and not the layer
                self._sources[layer.descriptor.digest] = (source, reference)
            stack.append(
                Layer(
                    id=layer.diff_id,
                    blob=replace(layer.descriptor, annotations={}),
                    origin=layer.descriptor.annotations.get(ORIGIN, origin) if ours else origin,
                )
            )
        return tuple(stack)

    def _from_origin(self, origin: str) -> tuple[ImageSource, Reference]:
        """The source of a layer that an earlier build resolved."""
        if not origin:
            raise HostError(
                "a layer of an image that was made here is missing from the store",
                hint="build or import the image again",
            )
        try:
            if origin.startswith(_LAYOUT):
                path, reference = parse_layout_address(origin.removeprefix(_LAYOUT))
                return open_layout(path), reference
            return self.registry(), parse_reference(origin)
        except UserError as error:
            raise HostError(f"a layer cannot be had from {origin!r}: {error.message}") from None


@cache
def familiar(name: str) -> str:
    """The name by which --build-context knows an image or a stage."""
    try:
        return parse_reference(name).familiar.removesuffix(":latest")
    except UserError:
        return name


def _origin(reference: Reference, image: ResolvedImage) -> str:
    """Where an image of a registry can be had again."""
    return f"{reference.repository}@{image.descriptor.digest}"


def _top(image: ResolvedImage) -> Descriptor:
    """What the image's name stands for."""
    return image.index or image.descriptor


def context_name(name: str) -> str:
    """`name` or `name::platform`, the name in its familiar form."""
    image, separator, platform = name.partition("::")
    return f"{familiar(image)}{separator}{platform}"
