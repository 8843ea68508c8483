"""What is in the store, what it is for, and what it would cost to have it again.

A layer belongs to all steps that made it or stand on it: it was last used when one of them was. An
image in the local store needs each of its layers once, as its blob or as files: of those that have
both, the files may go, because they are in the blob.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from lamina.cache.eviction import Item, Kind
from lamina.cache.mountlist import MountCopy, list_copies
from lamina.content.documents import parse_config, parse_manifest_or_index
from lamina.content.images import ImageStore, NamedImage
from lamina.content.room import LAYER
from lamina.content.store import BlobStore
from lamina.control.keeping.measuring import disk_use, mount_size
from lamina.control.keeping.space import Space
from lamina.errors import LaminaError
from lamina.exporter.blobs import ORIGIN
from lamina.layer.stack import Stack
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_from, encoded, parse_digest
from lamina.oci.manifest import Index as ImageIndex
from lamina.snapshot.store import LayerStore

RUNNING: Final = "a running build"
_DIGEST: Final = re.compile(rb"sha256:[0-9a-f]{64}")
_STACK: Final = msgspec.msgpack.Decoder(Stack)

# What having something again takes, roughly, where nobody has measured it: bytes a second.
_UNPACKING: Final = 150e6
_COMPRESSING: Final = 40e6
_FETCHING: Final = 10e6
_ASKING: Final = 0.3  # seconds until a registry answers
_FILLING: Final = 5e6  # of a cache mount
_PACKED: Final = 3  # times smaller is a layer as a blob
_QUICKEST: Final = 0.01  # seconds; nothing is had again for nothing


class ImageLayer(NamedTuple):
    """A layer of an image in the local store: blob, files, and whether it can be fetched."""

    blob: Digest
    files: Digest
    fetched: bool


class ImageNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What an image in the local store is made of: documents, and layers."""

    name: NamedImage
    documents: frozenset[Digest]
    layers: tuple[ImageLayer, ...]


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """`copies` are the cache mounts by the names of their items, `shared` how many images and steps
    a layer belongs to, by its id.
    """

    items: tuple[Item, ...]
    images: tuple[ImageNeeds, ...]
    copies: dict[str, MountCopy]
    shared: dict[Digest, int]


class _Fact(msgspec.Struct):
    """What records say of a layer."""

    used: float = 0.0
    seconds: float = 0.0
    what: str = ""
    depth: int = 0
    pulled: bool = False
    blob: Digest | None = None
    current: bool = False
    users: int = 0


def take_inventory(space: Space, *, images_too: bool = False) -> Inventory:
    """`images_too`: what only images of the local store need is free to go. Raises HostError."""
    return _Taking(space).take(images_too=images_too)


class _Taking:
    def __init__(self, space: Space) -> None:
        self.space = space
        self.layers = LayerStore(space.root)
        self.blobs = BlobStore(f"{space.root}/images")
        self.here = frozenset(self.layers.ids())
        self.facts: dict[Digest, _Fact] = {}
        self.fetched: dict[Digest, float] = {}
        self.shared: dict[Digest, int] = {}

    def take(self, *, images_too: bool) -> Inventory:
        self._read_records()
        images = tuple(self._images())
        needed = {} if images_too else dict(self._needed(images))
        needed |= {name: image for name, image in self._documents(images) if name not in needed}
        copies = {copy.name: copy for copy in list_copies(f"{self.space.root}/mounts")}
        found = [*self._layers(needed), *self._blobs(needed, images), *self._mounts(copies)]
        return Inventory(items=tuple(found), images=images, copies=copies, shared=dict(self.shared))

    def _read_records(self) -> None:
        latest: dict[str, float] = {}
        rows = self.space.index.rows(
            "SELECT locus, name, stack, last_used, seconds, created FROM records"
            " ORDER BY created DESC"
        )
        for locus, name, packed, used, seconds, created in rows:
            stack = _STACK.decode(packed)
            newest = latest.setdefault(locus, created) == created
            for depth, layer in enumerate(stack):
                fact = self.facts.setdefault(layer.id, _Fact())
                fact.used = max(fact.used, used)
                fact.depth = max(fact.depth, depth)
                fact.pulled = fact.pulled or layer.pulled
                fact.current = fact.current or newest
                fact.users += layer is stack[-1]
                if layer.blob is not None:
                    fact.blob = layer.blob.digest
                    old = self.fetched.get(layer.blob.digest, 0.0)
                    self.fetched[layer.blob.digest] = max(old, used)
            if stack and not stack[-1].pulled:
                own = self.facts[stack[-1].id]
                own.seconds, own.what = max(own.seconds, seconds), own.what or name

    def _images(self) -> Iterator[ImageNeeds]:
        for name in ImageStore(self.blobs).list():
            documents: set[Digest] = set()
            layers = list(self._image(name.descriptor, documents, ORIGIN in _notes(name)))
            for layer in {layer.files for layer in layers}:
                self.shared[layer] = self.shared.get(layer, 0) + 1
            yield ImageNeeds(name=name, documents=frozenset(documents), layers=tuple(layers))

    def _image(
        self, top: Descriptor, documents: set[Digest], fetched: bool
    ) -> Iterator[ImageLayer]:
        """The layers below a manifest or index; documents that are missing have none."""
        documents.add(top.digest)
        try:
            data = self.blobs.read(top.digest)
            document = parse_manifest_or_index(data, media_type=top.media_type, subject="")
        except LaminaError:
            return
        if isinstance(document, ImageIndex):
            for each in document.manifests:
                yield from self._image(each, documents, fetched)
            return
        documents.add(document.config.digest)
        try:
            config = parse_config(
                self.blobs.read(document.config.digest), manifest=document, subject=""
            )
            diff_ids = tuple(map(parse_digest, config.rootfs.diff_ids or ()))
        except LaminaError:
            diff_ids = ()
        if not diff_ids:
            documents |= {each.digest for each in document.layers}
        for layer, diff_id in zip(document.layers, diff_ids, strict=False):
            own = self.space.index.layer_of(diff_id)
            files = own if own in self.here and own is not None else diff_id
            yield ImageLayer(layer.digest, files, fetched or ORIGIN in layer.annotations)

    def _documents(self, images: Iterable[ImageNeeds]) -> Iterator[tuple[Digest, str]]:
        for image in images:
            for name in image.documents:
                yield name, f"image {image.name.reference.familiar}"

    def _needed(self, images: Iterable[ImageNeeds]) -> Iterator[tuple[Digest, str]]:
        for image in images:
            for layer in image.layers:
                is_blob = os.path.exists(self.blobs.path(layer.blob))
                yield (
                    layer.blob if is_blob else layer.files,
                    f"image {image.name.reference.familiar}",
                )

    def _layers(self, needed: dict[Digest, str]) -> Iterator[Item]:
        sizes = self.space.holdings.all(LAYER)
        mentioned = self._mentioned()
        for layer in self.here:
            place = os.path.dirname(self.layers.diff_dir(layer))
            held = sizes.get(bytes.fromhex(encoded(layer)))
            fact = self.facts.get(layer)
            is_base = fact.pulled if fact else layer in self.shared and layer not in mentioned
            size = held.size if held else disk_use(place)
            self.shared[layer] = self.shared.get(layer, 0) + (fact.users if fact else 0)
            known = fact is not None or self.shared[layer] or layer in mentioned
            yield Item(
                kind=Kind.BASE if is_base else Kind.STEP,
                name=layer,
                size=size,
                used=max(fact.used if fact else 0.0, _changed(place)),
                seconds=self._again(layer, size)
                if is_base or fact is None
                else _floor(fact.seconds),
                what=fact.what if fact else "",
                depth=fact.depth if fact else 0,
                useless=not known,
                replaced=fact is not None and not fact.current,
                needed=needed.get(layer) or self._running(layer),
            )

    def _again(self, layer: Digest, size: int) -> float:
        """What unpacking takes, and pulling where the blob is not here."""
        fact = self.facts.get(layer)
        if fact is not None and fact.blob and os.path.exists(self.blobs.path(fact.blob)):
            return size / _UNPACKING + _QUICKEST
        return _ASKING + size / _UNPACKING + size / _PACKED / _FETCHING

    def _blobs(self, needed: dict[Digest, str], images: Iterable[ImageNeeds]) -> Iterator[Item]:
        made = {
            digest_from(digest): digest_from(layer)
            for layer, digest in self.space.index.rows("SELECT layer, digest FROM blobs")
        }
        of_images = {layer.blob for image in images for layer in image.layers}
        for blob in self.blobs.digests():
            path = str(self.blobs.path(blob))
            size = disk_use(path)
            source = made.get(blob)
            useful = source is not None and (source in self.here or source in self.facts)
            speed = _COMPRESSING if source in self.here else _FETCHING
            yield Item(
                kind=Kind.BLOB,
                name=blob,
                size=size,
                used=max(self.fetched.get(blob, 0.0), _changed(path)),
                seconds=size / speed + (_ASKING if speed == _FETCHING else _QUICKEST),
                what="a layer, compressed" if useful else "",
                useless=not (useful or blob in self.fetched or blob in of_images),
                needed=needed.get(blob) or self._running(blob),
            )

    def _mounts(self, copies: dict[str, MountCopy]) -> Iterator[Item]:
        for name, copy in copies.items():
            size = mount_size(copy, self.space.holdings)
            yield Item(
                kind=Kind.MOUNT,
                name=name,
                size=size,
                used=copy.used,
                seconds=_floor(size / _FILLING),
                what=f"{copy.id} ({copy.platform})",
                needed=RUNNING if copy.is_in_use() else "",
            )

    def _mentioned(self) -> frozenset[Digest]:
        """Layers that are known by another way than a record: downloads."""
        rows = self.space.index.rows(
            "SELECT value FROM memos WHERE kind NOT IN ('layer', 'foreign')"
        )
        return frozenset(
            Digest(found.decode()) for (value,) in rows for found in _DIGEST.findall(value)
        )

    def _running(self, name: Digest) -> str:
        return RUNNING if self.space.leases.is_held(name) else ""


def _floor(seconds: float) -> float:
    return max(seconds, _QUICKEST)


def _notes(name: NamedImage) -> dict[str, str]:
    return name.descriptor.annotations


def _changed(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0
