"""`lamina images`, `lamina rmi` and `lamina import`: the local image store."""

from __future__ import annotations

import itertools
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from lamina.content.images import NamedImage
from lamina.content.layout import open_layout, parse_layout_address
from lamina.content.source import ImageSource
from lamina.content.store import host_errors
from lamina.context.archive import open_archive
from lamina.control.importing.changes import changed_config
from lamina.control.importing.rootfs import Rootfs, take_rootfs
from lamina.control.named import details_of, find_images
from lamina.control.privileges import become_root
from lamina.control.request import ImageRow
from lamina.control.store import Store, open_store
from lamina.errors import InternalError, UsageError, UserError
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.image import BuiltImage, rfc3339
from lamina.exporter.port import ExportContext
from lamina.exporter.store import StoreExporter
from lamina.layer.reader import TarReader
from lamina.layer.stack import Layer, Stack
from lamina.oci.config import History, ImageConfig
from lamina.oci.platform import Platform, host_platform
from lamina.oci.reference import Reference, parse_reference
from lamina.snapshot.view import View

_OF_IMAGES = re.compile(
    r"(\./)?(blobs(/|\Z)|(oci-layout|(index|manifest)\.json)\Z|[0-9a-f]{64}(/|\.json\Z|\.tar\Z))"
)
"""The first names in tars of image layouts and of `docker save`."""


def list_images(root: str) -> tuple[ImageRow, ...]:
    """Every name in the local image store, newest first. Raises HostError."""
    store = open_store(root)
    return tuple(_row(store, named) for named in reversed(store.images.list()))


def remove_image(name: str, root: str) -> tuple[str, ...]:
    """Takes a name away from an image, or every name from the image with an ID; says which.

    The image's layers stay until they are pruned. Raises UserError where there is no such image.
    """
    store = open_store(root)
    return tuple(
        f"Untagged: {named.reference.familiar}"
        for named in find_images(store, name)
        if store.images.untag(named.reference) is not None
    )


def import_image(
    path: str, name: str, root: str, stdin: BinaryIO, *, changes: tuple[str, ...] = ()
) -> str:
    """Makes an image of what is at `path`, names it, and returns its ID.

    `path` is the archive of a root file system (a tar, plain or compressed; "-" is `stdin`), an OCI
    image layout or its tar, or an archive of `docker save`. `changes` are instructions of a
    Dockerfile. Raises UserError for what is none of these, and UsageError for a wrong change.
    """
    reference = parse_reference(name)
    if reference.digest is not None:
        raise UsageError(f"{name!r} has a digest", hint="write NAME:TAG")
    host = host_platform(os.uname().machine)
    changed_config(_empty(host), changes, platform=host)  # refused before the work begins
    become_root()
    store = open_store(root)
    found = _foreign_images(path)
    image = _imported(*found, store, host) if found else _made(path, stdin, store, host)
    config = changed_config(image.config, changes, platform=image.platform)
    image = BuiltImage(platform=image.platform, config=config, stack=image.stack)
    context = _context(store, reference.with_default_tag())
    result = StoreExporter.parse(None, {}).export([image], context)
    if result.image_id is None:
        raise InternalError("an imported image has no configuration")
    return result.image_id


def _row(store: Store, named: NamedImage) -> ImageRow:
    details = details_of(store, named)
    layers = details.image.layers if details.image else ()
    return ImageRow(
        reference=named.reference,
        image_id=details.image_id,
        digest=named.descriptor.digest,
        created=_seconds(details.image.config.created) if details.image else None,
        size=sum(layer.descriptor.size for layer in layers),
        platforms=tuple(map(str, details.platforms)),
    )


def _seconds(created: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat(created or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _foreign_images(path: str) -> tuple[ImageSource, Reference] | None:
    """The layout or docker archive at `path`, which may end in `:TAG` or `@DIGEST`."""
    where, reference = path, Reference(domain="layout", path="image")
    if path != "-" and not os.path.exists(path):
        try:
            where, reference = parse_layout_address(path)
        except UserError:
            where = path
    if path == "-" or not os.path.exists(where):
        return None
    if not os.path.isdir(where) and not _holds_images(where):
        return None
    return open_layout(where), reference


def _holds_images(path: str) -> bool:
    """Whether a tar is one of images: by its first names, as those may be huge."""
    with host_errors(path), Path(path).open("rb") as file:
        try:
            plain = open_archive(file)
            members = iter(TarReader(plain).next, None) if plain is not None else iter(())
            names = [os.fsdecode(member.name) for member in itertools.islice(members, 8) if member]
        except UserError:
            return False  # what is wrong with it is said when it is unpacked
    return any(_OF_IMAGES.match(name) for name in names)


def _imported(
    source: ImageSource, reference: Reference, store: Store, host: Platform
) -> BuiltImage:
    found = source.resolve(reference, host)
    stack: Stack = ()
    for layer in found.layers:
        source.fetch(reference, layer.descriptor, store.blobs)
        stack = (*stack, Layer(id=layer.diff_id, blob=layer.descriptor))
    return BuiltImage(platform=found.platform, config=found.config, stack=stack)


def _made(path: str, stdin: BinaryIO, store: Store, host: Platform) -> BuiltImage:
    if path == "-":
        rootfs = take_rootfs(stdin, store, name="standard input")
    elif not os.path.exists(path):
        raise UserError(f"{path}: no such file or directory")
    else:
        with host_errors(path), Path(path).open("rb") as file:
            rootfs = take_rootfs(file, store, name=path)
    return _image_of(rootfs, os.path.basename(path), host)


def _image_of(rootfs: Rootfs, name: str, host: Platform) -> BuiltImage:
    """An image of one layer. Its time is that of its newest file: equal archives, equal images."""
    newest = max((entry.mtime_ns for entry in rootfs.manifest.entries), default=0)
    created = rfc3339(max(newest // 10**9, 0))
    history = (History(created=created, created_by=f"lamina import {name}"),)
    config = msgspec.structs.replace(_empty(host), created=created, history=history)
    return BuiltImage(platform=host, config=config, stack=(rootfs.layer,))


def _empty(host: Platform) -> ImageConfig:
    return ImageConfig(architecture=host.architecture, os=host.os, variant=host.variant)


def _context(store: Store, name: Reference) -> ExportContext:
    def fetch(layer: Layer) -> None:
        raise InternalError(f"the layer {layer.id} was imported, and is gone")

    def view(stack: Stack) -> View:
        return View(store.layers, tuple(layer.id for layer in stack))

    return ExportContext(
        content=store.blobs,
        blobs=LayerBlobs(
            content=store.blobs,
            layers=store.layers,
            index=store.index,
            fetch=fetch,
        ),
        view=view,
        store=store.images,
        names=(name,),
    )
