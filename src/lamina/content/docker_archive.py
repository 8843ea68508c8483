"""Archives of `docker save` as an image source (Docker image spec v1.2, "Combined Image JSON").

    manifest.json      [{"Config": "<id>.json", "RepoTags": ["name:tag"],
                         "Layers": ["<id>/layer.tar", …]}, …]
    <id>.json          an image configuration
    <id>/layer.tar     a layer, plain or compressed

There is no manifest with digests, so one is made; equal archives give equal manifests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from lamina.content.compression import Compression
from lamina.content.decompression import sniff
from lamina.content.documents import MAX_CONFIG, MAX_MANIFEST
from lamina.content.errors import MalformedImage, NotFound
from lamina.content.medium import Medium, copy_blob, read_document
from lamina.content.source import CountBytes, ResolvedImage, resolve_image
from lamina.content.store import BlobStore
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.oci.manifest import Manifest, encode_document
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference, parse_reference

_CHUNK = 1 << 20


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    config: str
    layers: tuple[str, ...] | None = ()
    repo_tags: tuple[str, ...] | None = ()


class DockerArchive:
    """One archive. A reference is looked up by its full name, else by its tag.

    Without a tag it means the only image there is.
    """

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._saved = self._read_manifest()
        self._paths: dict[Digest, str] = {}

    def resolve(self, reference: Reference, platform: Platform) -> ResolvedImage:
        name = str(reference)
        saved = self._find(reference)
        config_data = read_document(self._medium, saved.config, limit=MAX_CONFIG)
        config = self._descriptor(saved.config, mediatype.CONFIG)
        layers = tuple(self._layer(path) for path in saved.layers or ())
        manifest = Manifest(
            schema_version=2, media_type=mediatype.MANIFEST, config=config, layers=layers
        )
        data = encode_document(manifest)
        top = Descriptor(media_type=mediatype.MANIFEST, digest=digest_of(data), size=len(data))
        documents: Mapping[Digest, bytes] = {top.digest: data, config.digest: config_data}
        return resolve_image(
            top, read=lambda wanted: documents[wanted.digest], platform=platform, name=name
        )

    def fetch(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        progress: CountBytes | None = None,
    ) -> None:
        path = self._paths.get(descriptor.digest)
        if path is None:
            raise NotFound(f"{self._medium.name}: {descriptor.digest} is not in the archive")
        copy_blob(self._medium, path, descriptor, store, progress=progress)

    def _find(self, reference: Reference) -> _Saved:
        named = [
            (each, parse_reference(text).with_default_tag())
            for each in self._saved
            for text in each.repo_tags or ()
        ]
        wanted = reference.with_default_tag()
        for each, name in named:
            if (name.repository, name.tag) == (wanted.repository, wanted.tag):
                return each
        same_tag = [each for each, name in named if name.tag == reference.tag]
        if len(same_tag) == 1:
            return same_tag[0]
        if reference.tag is None and len(self._saved) == 1:
            return self._saved[0]
        there_is = ", ".join(name.familiar for _, name in named) or "images without a name"
        raise NotFound(f"{self._medium.name}: not found", hint=f"the archive has {there_is}")

    def _layer(self, path: str) -> Descriptor:
        file = self._medium.open(path)
        if file is None:
            raise NotFound(f"{self._medium.name}: {path} is missing")
        with file:
            kind = sniff(file.read(4)) or Compression.UNCOMPRESSED
        return self._descriptor(path, kind.media_type())

    def _descriptor(self, path: str, media_type: str) -> Descriptor:
        file = self._medium.open(path)
        if file is None:
            raise NotFound(f"{self._medium.name}: {path} is missing")
        whole = hashlib.sha256()
        with file:
            while data := file.read(_CHUNK):
                whole.update(data)
            digest = Digest(f"sha256:{whole.hexdigest()}")
            self._paths[digest] = path
            return Descriptor(media_type=media_type, digest=digest, size=file.size)

    def _read_manifest(self) -> tuple[_Saved, ...]:
        data = read_document(self._medium, "manifest.json", limit=MAX_MANIFEST)
        try:
            return msgspec.json.decode(data, type=tuple[_Saved, ...])
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise MalformedImage(
                f"{self._medium.name}: manifest.json is malformed: {str(error)[:200]}"
            ) from None
