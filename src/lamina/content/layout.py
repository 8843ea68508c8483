"""Images in a foreign OCI image layout, a folder or a tar (OCI image spec, image-layout.md)."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from lamina.content.annotations import IMAGE_NAME as IMAGE_NAME
from lamina.content.annotations import REF_NAME as REF_NAME
from lamina.content.documents import MAX_MANIFEST, check_digest, parse_manifest_or_index
from lamina.content.errors import MalformedImage, NotFound, wrong_digest
from lamina.content.medium import Medium, copy_blob, open_medium, read_document
from lamina.content.source import (
    CountBytes,
    ImageSource,
    ResolvedImage,
    choose_image,
    resolve_image,
)
from lamina.content.store import BlobStore
from lamina.errors import UserError
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of, encoded, parse_digest
from lamina.oci.manifest import Index, Manifest
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference


def open_layout(path: str | os.PathLike[str]) -> ImageSource:
    """The image source at `path`: a layout, a tar of one, or the archive of `docker save`.

    Raises UserError where there is none, MalformedImage for a broken one.
    """
    medium = open_medium(Path(path))
    if _exists(medium, "index.json"):
        return Layout(medium)
    if _exists(medium, "manifest.json"):
        from lamina.content.docker_archive import DockerArchive

        return DockerArchive(medium)
    raise UserError(
        f"{medium.name} is neither an OCI image layout nor an archive of docker save",
        hint="a layout has the files oci-layout and index.json",
    )


def parse_layout_address(text: str) -> tuple[str, Reference]:
    """`path[:tag][@digest]`, what follows `oci-layout://`, to the path and a reference.

    The reference is good for `resolve` of that layout alone: its name means nothing.
    """
    path, at, digest = text.rpartition("@")
    if not at or "/" in digest:
        path, digest = text, ""
    head, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        head, tag = path, ""
    if not head:
        raise UserError(f"{text!r} is not the address of an OCI layout", hint="write path:tag")
    return head, Reference(
        domain="layout",
        path="image",
        tag=tag or None,
        digest=parse_digest(digest) if digest else None,
    )


class Layout:
    """An OCI image layout as an image source.

    A reference is looked up by its digest, else by its tag; without either it means `latest`, or
    the only image there is.
    """

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._index = self._read_index()

    def resolve(self, reference: Reference, platform: Platform) -> ResolvedImage:
        name = self._medium.name
        if reference.digest is not None:
            name = f"{name}@{reference.digest}"
            top = self._by_digest(reference.digest)
            return resolve_image(top, read=self._read, platform=platform, name=name)
        if reference.tag is not None:
            name = f"{name}:{reference.tag}"
        found = self._by_tag(reference.tag)
        if len(found) == 1:
            return resolve_image(found[0], read=self._read, platform=platform, name=name)
        several = msgspec.structs.replace(self._index, manifests=found)
        return choose_image(several, index=None, read=self._read, platform=platform, name=name)

    def fetch(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        progress: CountBytes | None = None,
    ) -> None:
        path = self._path(descriptor.digest)
        copy_blob(self._medium, path, descriptor, store, progress=progress)

    def names(self) -> tuple[str, ...]:
        """What the images are called: tags, or full names."""
        return tuple(dict.fromkeys(name for each in self._index.manifests for name in _names(each)))

    def _by_tag(self, tag: str | None) -> tuple[Descriptor, ...]:
        """The images of that name, several if there is one a platform."""
        images = tuple(each for each in self._index.manifests if _is_image(each))
        if found := tuple(each for each in images if _is_named(each, tag or "latest")):
            return found
        names = self.names()
        if tag is not None:
            hint = f"the layout has {', '.join(names)}" if names else "the layout names no image"
            raise NotFound(f"{self._medium.name}:{tag}: not found", hint=hint)
        if not images:
            raise NotFound(f"{self._medium.name}: there is no image in this layout")
        if len(images) > 1 and names:
            hint = f"add one of the names: {', '.join(names)}"
            raise UserError(f"{self._medium.name} has several images", hint=hint)
        return images

    def _by_digest(self, digest: Digest) -> Descriptor:
        for each in self._index.manifests:
            if each.digest == digest:
                return each
        file = self._medium.open(self._path(digest))
        if file is None:
            raise NotFound(f"{self._medium.name}@{digest}: not found")
        with file:
            return Descriptor(media_type="", digest=digest, size=file.size)

    def _read(self, descriptor: Descriptor) -> bytes:
        data = read_document(self._medium, self._path(descriptor.digest))
        if (got := digest_of(data)) != descriptor.digest:
            raise wrong_digest(expected=descriptor.digest, got=got)
        return data

    def _path(self, digest: Digest) -> str:
        # Checked once more: one that was taken from a document unchecked could lead out of here.
        checked = check_digest(digest, subject=self._medium.name)
        return f"blobs/sha256/{encoded(checked)}"

    def _read_index(self) -> Index:
        subject = f"{self._medium.name}/index.json"
        data = read_document(self._medium, "index.json", limit=MAX_MANIFEST)
        document = parse_manifest_or_index(data, media_type=mediatype.INDEX, subject=subject)
        if isinstance(document, Manifest):
            raise MalformedImage(f"{subject} is a manifest")
        return document


def _exists(medium: Medium, path: str) -> bool:
    file = medium.open(path)
    if file is None:
        return False
    file.close()
    return True


def _is_image(descriptor: Descriptor) -> bool:
    return descriptor.media_type in mediatype.INDEXES | mediatype.MANIFESTS


def _names(descriptor: Descriptor) -> tuple[str, ...]:
    found = (descriptor.annotations.get(key) for key in (IMAGE_NAME, REF_NAME))
    return tuple(name for name in found if name)


def _is_named(descriptor: Descriptor, tag: str) -> bool:
    """By the tag alone, or by a full name that ends with it."""
    return any(name == tag or name.endswith(f":{tag}") for name in _names(descriptor))
