"""A cache document as registries and image layouts keep it: a manifest that refers to everything.

    image manifest     config ──▶ the document        layers    ──▶ blobs of layers, mounts
    index              manifests ──▶ blobs of layers, mounts, and last the document

So whoever collects garbage there keeps the blobs as long as the document, and `skopeo copy` takes
them along. An ordinary image is read too: its configuration may hold an inline cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from lamina.content.compression import Compression
from lamina.errors import UsageError, UserError
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of, parse_digest
from lamina.oci.manifest import Index, Manifest, encode_document
from lamina.oci.platform import Platform, rank
from lamina.remotecache.document import MEDIA_TYPE
from lamina.remotecache.encoding import MAX_ENCODED, encode, media_type
from lamina.remotecache.errors import NotACache, UnreadableCache
from lamina.remotecache.inline import extract
from lamina.remotecache.merging import merge
from lamina.remotecache.options import boolean
from lamina.remotecache.port import StoredDocument

MAX_IMAGE_CONFIG = 16 << 20
_ENTRY = "lamina.cache.entry"
_BUILDKIT = "application/vnd.buildkit.cacheconfig.v0"
_DOCKER_TYPES = {
    mediatype.LAYER: mediatype.DOCKER_LAYER,
    mediatype.LAYER_GZIP: mediatype.DOCKER_LAYER_GZIP,
    mediatype.LAYER_ZSTD: mediatype.DOCKER_LAYER_ZSTD,
}

ReadBlob = Callable[[Descriptor, int], bytes]
"""The verified bytes of a small blob that is not larger than so many bytes."""
ReadManifest = Callable[[Descriptor], bytes]
"""The verified bytes of a manifest below an index."""


class ArtifactForm(msgspec.Struct, frozen=True, kw_only=True):
    """How a document is wrapped: as an image manifest or as an index, with OCI's media types or
    Docker's.
    """

    image_manifest: bool = True
    docker_types: bool = False


def parse_form(attributes: Mapping[str, str]) -> ArtifactForm:
    """`image-manifest` and `oci-mediatypes`, with BuildKit's defaults. Raises UsageError."""
    oci = boolean(attributes, "oci-mediatypes", default=True)
    image_manifest = boolean(attributes, "image-manifest", default=oci)
    if image_manifest and not oci:
        raise UsageError(
            "image-manifest=true needs OCI's media types", hint="leave out oci-mediatypes=false"
        )
    if not oci and attributes.get("compression") == Compression.ZSTD.value:
        raise UsageError("compression=zstd needs OCI's media types")
    return ArtifactForm(image_manifest=image_manifest, docker_types=not oci)


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest, and the blob of the document that it refers to."""

    manifest: bytes
    media_type: str
    config: Descriptor

    @property
    def descriptor(self) -> Descriptor:
        """What refers to the manifest."""
        return Descriptor(
            media_type=self.media_type, digest=digest_of(self.manifest), size=len(self.manifest)
        )


class Readers(msgspec.Struct, frozen=True, kw_only=True):
    """How what a manifest refers to is read, and for which platforms an image may be."""

    blob: ReadBlob
    manifest: ReadManifest
    platforms: tuple[Platform, ...]


def wrap(document: StoredDocument, form: ArtifactForm) -> Artifact:
    """The manifest of a document. Two names give two manifests: to delete one keeps the other."""
    data = document.data
    config = Descriptor(media_type=media_type(data), digest=digest_of(data), size=len(data))
    blobs = tuple(_typed(blob, docker=form.docker_types) for blob in document.blobs)
    named = {_ENTRY: document.name}
    if form.image_manifest:
        kind = mediatype.MANIFEST
        manifest = encode_document(
            Manifest(
                schema_version=2, media_type=kind, config=config, layers=blobs, annotations=named
            )
        )
    else:
        kind = mediatype.DOCKER_INDEX if form.docker_types else mediatype.INDEX
        index = Index(
            schema_version=2,
            media_type=kind,
            manifests=(*blobs, config),
            annotations={} if form.docker_types else named,
        )
        manifest = encode_document(index)
    return Artifact(manifest=manifest, media_type=kind, config=config)


def unwrap(data: bytes, readers: Readers, *, name: str, subject: str) -> StoredDocument:
    """The document of a manifest. Raises NotACache for what holds none, UnreadableCache for what
    is broken, and what the readers raise. `subject` is what messages call it.
    """
    document = _parse(data, subject)
    if isinstance(document, Manifest):
        return _of_manifest(document, readers, name=name, subject=subject)
    found = [each for each in document.manifests if _is_document(each)]
    if found:
        held = tuple(each for each in document.manifests if not _is_document(each))
        return StoredDocument(name=name, data=readers.blob(found[-1], MAX_ENCODED), blobs=held)
    if any(each.media_type == _BUILDKIT for each in document.manifests):
        raise _buildkit(subject)
    return _of_images(document, readers, name=name, subject=subject)


def _of_manifest(
    manifest: Manifest, readers: Readers, *, name: str, subject: str
) -> StoredDocument:
    config = manifest.config
    if _is_document(config):
        data = readers.blob(config, MAX_ENCODED)
        return StoredDocument(name=name, data=data, blobs=manifest.layers)
    if config.media_type == _BUILDKIT:
        raise _buildkit(subject)
    if config.media_type not in (mediatype.CONFIG, mediatype.DOCKER_CONFIG):
        raise NotACache(f"{subject} is neither a cache nor an image")
    found = extract(readers.blob(config, MAX_IMAGE_CONFIG), manifest.layers, subject=subject)
    if found is None:
        raise NotACache(
            f"{subject} is an ordinary image, without an inline cache",
            hint="build it with --cache-to type=inline, or name what --cache-to wrote",
        )
    return StoredDocument(name=name, data=encode(found), blobs=found.blobs())


def _of_images(index: Index, readers: Readers, *, name: str, subject: str) -> StoredDocument:
    """The inline caches of the images for the platforms that are built."""
    wanted = []
    for platform in readers.platforms:
        offers = [
            (place, each)
            for each in index.manifests
            if each.platform and (place := rank(platform, each.platform)) is not None
        ]
        if offers:
            wanted.append(min(offers, key=lambda offer: offer[0])[1])
    documents = []
    for each in {one.digest: one for one in wanted}.values():
        inner = _parse(readers.manifest(each), subject)
        if isinstance(inner, Manifest) and inner.config.media_type in (
            mediatype.CONFIG,
            mediatype.DOCKER_CONFIG,
        ):
            config = readers.blob(inner.config, MAX_IMAGE_CONFIG)
            documents.append(extract(config, inner.layers, subject=subject))
    found = [each for each in documents if each is not None]
    if not found:
        raise NotACache(
            f"{subject} is an ordinary image, without an inline cache for this platform",
            hint="build it with --cache-to type=inline, or name what --cache-to wrote",
        )
    merged = merge(found)
    return StoredDocument(name=name, data=encode(merged), blobs=merged.blobs())


def _parse(data: bytes, subject: str) -> Manifest | Index:
    try:
        document: Manifest | Index
        try:
            document = msgspec.json.decode(data, type=Manifest)
        except msgspec.ValidationError:
            document = msgspec.json.decode(data, type=Index)
        for each in _references(document):
            parse_digest(each.digest)
            if each.size < 0:
                raise UserError(f"{each.digest} has a negative size")
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise UnreadableCache(f"{subject}: the manifest is damaged: {str(error)[:200]}") from None
    except UserError as error:
        raise UnreadableCache(f"{subject}: the manifest is damaged: {error.message}") from None
    return document


def _references(document: Manifest | Index) -> Sequence[Descriptor]:
    if isinstance(document, Manifest):
        return (document.config, *document.layers)
    return document.manifests


def _is_document(descriptor: Descriptor) -> bool:
    return descriptor.media_type.startswith(MEDIA_TYPE)


def _buildkit(subject: str) -> NotACache:
    return NotACache(
        f"{subject} is a cache that BuildKit wrote, whose keys mean nothing to Lamina",
        hint="write one with --cache-to under another name",
    )


def _typed(blob: Descriptor, *, docker: bool) -> Descriptor:
    """The same blob with a media type of the wanted family."""
    types = _DOCKER_TYPES if docker else {new: old for old, new in _DOCKER_TYPES.items()}
    kind = types.get(blob.media_type, blob.media_type)
    return msgspec.structs.replace(blob, media_type=kind, annotations={}, platform=None)
