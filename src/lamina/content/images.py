"""The images of the local store: names for what lies in its blobs.

The names stand in the layout's `index.json`, as other tools expect them:

    {"schemaVersion": 2, "manifests": [
        {"mediaType": …, "digest": …, "size": …, "annotations": {
            "io.containerd.image.name": "docker.io/library/app:dev",
            "org.opencontainers.image.ref.name": "dev"}}]}

Workload: some hundreds of names, read at every build, written at its end. Readers read the file,
which is always whole; writers take turns by a lock on `index.lock` and replace it.

The manifest of an image that was built here may name layers that are not blobs yet: plain tars,
known by their diff ID, which are written when the image is exported or pushed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from lamina.content.annotations import IMAGE_NAME, REF_NAME
from lamina.content.documents import check_digest
from lamina.content.errors import MalformedImage, NotFound
from lamina.content.source import CountBytes, ResolvedImage, resolve_image
from lamina.content.store import BlobStore, host_errors
from lamina.errors import HostError, UserError
from lamina.fs.lock import locked
from lamina.fs.publish import publish_file
from lamina.oci.descriptor import Descriptor
from lamina.oci.manifest import Index, empty_index, encode_document
from lamina.oci.platform import Platform, matches
from lamina.oci.reference import Reference, parse_reference


class NamedImage(msgspec.Struct, frozen=True, kw_only=True):
    """A name and what it means now. `descriptor` is of a manifest or an index."""

    reference: Reference
    descriptor: Descriptor


class ImageStore:
    """Names of images in `blobs`. Safe for several threads and processes. Also an image source."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._path = blobs.root / "index.json"

    def tag(self, reference: Reference, descriptor: Descriptor) -> None:
        """Gives a name to an image; another image that had it loses it."""
        name = _name(reference)
        annotations = {
            **descriptor.annotations,
            IMAGE_NAME: str(name),
            REF_NAME: name.tag or str(name),
        }
        with self._locked():
            others = [each for each in self._read().manifests if _reference(each) != name]
            self._write(*others, msgspec.structs.replace(descriptor, annotations=annotations))

    def untag(self, reference: Reference) -> Descriptor | None:
        """Takes a name away, and says what it meant; None if there was no such name."""
        name = _name(reference)
        with self._locked():
            every = self._read().manifests
            gone = next((each for each in every if _reference(each) == name), None)
            if gone is not None:
                self._write(*(each for each in every if each is not gone))
        return gone

    def get(self, reference: Reference) -> Descriptor | None:
        """What a name means. With a digest, the image of that repository which has it, or which
        was pulled by it.
        """
        if reference.digest is None:
            name = _name(reference)
            found = (each for each in self.list() if each.reference == name)
        else:
            found = (
                each
                for each in self.list()
                if each.reference.repository == reference.repository
                and reference.digest in (each.descriptor.digest, each.reference.digest)
            )
        image = next(found, None)
        return image.descriptor if image else None

    def list(self) -> tuple[NamedImage, ...]:
        """Every name, oldest first."""
        return tuple(
            NamedImage(reference=reference, descriptor=descriptor)
            for descriptor in self._read().manifests
            if (reference := _reference(descriptor)) is not None
        )

    def resolve(self, reference: Reference, platform: Platform) -> ResolvedImage:
        """Finds a local image.

        One that was pulled for another platform is not found here: the registry may have both.
        """
        top = self.get(reference)
        if top is None:
            raise NotFound(f"{reference.with_default_tag()}: not found")
        if top.platform is not None and not matches(platform, top.platform):
            raise NotFound(
                f"{reference.with_default_tag()}: not found for {platform}",
                hint=f"the local store has it for {top.platform}",
            )
        return resolve_image(
            top,
            read=lambda wanted: self._blobs.read(wanted.digest),
            platform=platform,
            name=str(reference.with_default_tag()),
        )

    def fetch(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        progress: CountBytes | None = None,
    ) -> None:
        if not store.has(descriptor.digest, descriptor.size):
            raise NotFound(f"{reference}: {descriptor.digest} is not in the local store")

    def _read(self) -> Index:
        with host_errors(self._path):
            try:
                data = self._path.read_bytes()
            except FileNotFoundError:
                return empty_index()
        try:
            index = msgspec.json.decode(data, type=Index)
            for each in index.manifests:
                check_digest(each.digest, subject=str(self._path))
            return index
        except (MalformedImage, msgspec.MsgspecError) as error:
            raise HostError(
                f"{self._path} is damaged: {error}",
                hint="remove it; the names of the local images are lost, everything else stays",
            ) from error

    def _write(self, *descriptors: Descriptor) -> None:
        index = msgspec.structs.replace(empty_index(), manifests=descriptors)
        with host_errors(self._path):
            publish_file(str(self._path), encode_document(index))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._blobs.root / "index.lock"
        with host_errors(path), locked(str(path)):
            yield


def _reference(descriptor: Descriptor) -> Reference | None:
    """The name that an entry gives; None for an entry of another tool."""
    try:
        return parse_reference(descriptor.annotations.get(IMAGE_NAME, ""))
    except UserError:
        return None


def _name(reference: Reference) -> Reference:
    """A tag, without what it meant once (a digest); or a digest alone, which gives no tag."""
    if reference.tag is None and reference.digest is not None:
        return reference
    return Reference(domain=reference.domain, path=reference.path, tag=reference.tag or "latest")
