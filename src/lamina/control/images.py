"""`lamina images`, `lamina rmi` and `lamina import`: the local image store."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from lamina.content.images import NamedImage
from lamina.content.layout import open_layout, parse_layout_address
from lamina.content.source import ImageSource
from lamina.content.store import host_errors
from lamina.control.changes import changed_config
from lamina.control.named import details_of, find_images
from lamina.control.privileges import become_root
from lamina.control.request import ImageRow
from lamina.control.rootfs import Rootfs, take_rootfs
from lamina.control.store import IndexedBlobs, Store, open_store
from lamina.errors import InternalError, UsageError, UserError
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.image import BuiltImage
from lamina.exporter.port import ExportContext
from lamina.exporter.store import StoreExporter
from lamina.layer.stack import Layer, Stack
from lamina.oci.config import History, ImageConfig
from lamina.oci.platform import Platform, host_platform
from lamina.oci.reference import Reference, parse_reference
from lamina.snapshot.view import View


def list_images(root: str) -> tuple[ImageRow, ...]:
    """Every name in the local image store, newest first. Raises HostError."""
    store = open_store(root)
    return tuple(_row(store, named) for named in reversed(store.images.list()))


def remove_image(name: str, root: str) -> tuple[str, ...]:
    """Takes a name away from an image, or every name from the image with an ID; says which.

    The image's layers stay until they are pruned. Raises UserError where there is no such image.
    """
    store = open_store(root)
    removed = []
    for named in find_images(store, name):
        if store.images.untag(named.reference) is not None:
            removed.append(f"Untagged: {named.reference.familiar}")
    return tuple(removed)


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
    """Whether a tar is one of images; that of a root file system has folders at its top."""
    import tarfile

    markers = {"oci-layout", "index.json", "manifest.json"}
    try:
        with host_errors(path), tarfile.open(path, "r:") as tar:
            found: set[str] = set()
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps every header
                found.add(member.name.removeprefix("./"))
                if found & markers and len(found) > 1:
                    return "blobs" in found or any(name.startswith("blobs/") for name in found)
    except (tarfile.TarError, EOFError, ValueError, OverflowError):
        return False
    return False


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
    else:
        if os.path.isdir(path):
            raise UserError(f"{path} is a directory", hint="give a tar of it, or a layout")
        with host_errors(path), Path(path).open("rb") as file:
            rootfs = take_rootfs(file, store, name=path)
    return _image_of(rootfs, os.path.basename(path), host)


def _image_of(rootfs: Rootfs, name: str, host: Platform) -> BuiltImage:
    """An image of one layer. Its time is that of its newest file: equal archives, equal images."""
    newest = max((entry.mtime_ns for entry in rootfs.manifest.entries), default=0)
    created = datetime.fromtimestamp(newest // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = _empty(host)
    history = (History(created=created, created_by=f"lamina import {name}"),)
    return BuiltImage(
        platform=host,
        config=_with(config, created=created, history=history),
        stack=(rootfs.layer,),
    )
