"""The face that every output has, and what it is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

import msgspec

from lamina.content.store import BlobStore
from lamina.content.target import ImageTarget
from lamina.exporter.annotations import Annotation
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.image import BuiltImage
from lamina.exporter.meter import OutputProgress, silent
from lamina.layer.stack import Stack
from lamina.layer.tree import Tree
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.oci.reference import Reference


class ImageNames(Protocol):
    """The local image store: takes an image that lies in the blob store under a name."""

    def tag(self, reference: Reference, descriptor: Descriptor) -> object: ...


OpenTarget = Callable[[frozenset[str]], ImageTarget]
"""Makes the client of the registries. Those given may speak HTTP, or show any certificate."""


class ExportContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an output works with.

    `names` are those of `-t`; `epoch` is SOURCE_DATE_EPOCH in seconds. `view` shows the files of a
    stack. `multi_platform` makes an index, and a folder per platform, even of a single image.
    """

    content: BlobStore
    blobs: LayerBlobs
    view: Callable[[Stack], Tree]
    store: ImageNames | None = None
    target: OpenTarget | None = None
    names: tuple[Reference, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    epoch: int | None = None
    multi_platform: bool = False
    stdout: BinaryIO | None = None
    progress: OutputProgress = silent

    def many(self, images: Sequence[BuiltImage]) -> bool:
        """Whether the output is one for several platforms."""
        return self.multi_platform or len(images) > 1


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came out. `digest` is that of the manifest or index, `image_id` that of a single config.

    All are None for outputs that are files and no image. `pushed`: it is in a registry now.
    """

    digest: Digest | None = None
    image_id: Digest | None = None
    descriptor: Descriptor | None = None
    names: tuple[str, ...] = ()
    pushed: bool = False


def unpack(images: Sequence[BuiltImage], context: ExportContext) -> None:
    """Makes the files of all layers, where they are not there (`unpack=true`)."""
    for image in images:
        context.view(image.stack)


class Exporter(Protocol):
    """One output. Made by its `parse(dest, attributes)`, which raises UsageError for what it
    cannot be.

    `export` raises HostError where the destination refuses.
    """

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult: ...
