"""A cache in a registry: a tag is a document, and its blobs lie in the same repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from lamina.content.source import CountBytes
from lamina.content.store import BlobStore
from lamina.errors import UsageError, UserError
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, parse_digest
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference, parse_reference
from lamina.registry.client import RegistryClient
from lamina.registry.documents import RegistryDocuments
from lamina.registry.push import RegistryTarget
from lamina.registry.resolve import RegistrySource
from lamina.remotecache.artifact import Artifact, ArtifactForm, Readers, parse_form, unwrap, wrap
from lamina.remotecache.errors import UnreadableCache
from lamina.remotecache.options import Layout, boolean, parse_cache_options, required
from lamina.remotecache.place import CachePlace, Setting
from lamina.remotecache.port import DocumentEntry, StoredDocument

_READ_KEYS = frozenset(("ref", "registry.insecure"))
_WRITE_KEYS = frozenset(("ref", "registry.insecure", "image-manifest", "oci-mediatypes"))


def parse(attributes: Mapping[str, str], setting: Setting, *, writes: bool) -> CachePlace:
    """`type=registry,ref=NAME`. Raises UsageError."""
    keys = _WRITE_KEYS if writes else _READ_KEYS
    options = parse_cache_options(attributes, kind="registry", writes=writes, more=keys)
    text = required(attributes, "ref", kind="registry", writes=writes)
    try:
        reference = parse_reference(text).with_default_tag()
    except UserError as error:
        raise UsageError(f"ref={text}: {error.message}", hint=error.hint) from None
    if reference.digest is not None and (writes or options.layout is Layout.RECORDS):
        raise UsageError(f"ref={text}: a digest cannot be written to", hint="write NAME:TAG")
    without_tls = boolean(attributes, "registry.insecure", default=False)
    insecure = frozenset((reference.domain,)) if without_tls else frozenset()
    form = parse_form(attributes)

    def connect() -> RegistryCache:
        return RegistryCache(
            reference,
            setting.client(insecure),
            setting.scratch,
            platforms=setting.platforms,
            form=form,
            neighbours=setting.neighbours,
        )

    return CachePlace(
        kind="registry",
        address=str(reference),
        origin=str(reference),
        documents=(str(reference.digest or reference.tag),),
        options=options,
        connect=connect,
    )


class RegistryCache:
    """The cache that `reference` names (`registry.example/app:buildcache`).

    A document's name is a tag of that repository, or a digest. `neighbours` are repositories that
    may have blobs already; those of the same registry lend them. `scratch` holds a document while
    it is sent. `platforms` are those whose images' inline caches are wanted.
    """

    def __init__(
        self,
        reference: Reference,
        client: RegistryClient,
        scratch: BlobStore,
        *,
        platforms: tuple[Platform, ...] = (),
        form: ArtifactForm = ArtifactForm(),  # noqa: B008 - frozen
        neighbours: Sequence[Reference] = (),
    ) -> None:
        self.reference = reference
        self._client = client
        self._documents = RegistryDocuments(client)
        self._target = RegistryTarget(client)
        self._scratch = scratch
        self._platforms = platforms
        self._form = form
        self._missing: set[Digest] = set()
        self._neighbours = tuple(
            each
            for each in neighbours
            if each.domain == reference.domain and each.path != reference.path
        )

    @property
    def address(self) -> str:
        return str(self.reference)

    def names(self, prefix: str) -> Sequence[DocumentEntry]:
        tags = self._documents.list_tags(self.reference)
        return [DocumentEntry(name=tag) for tag in tags if tag.startswith(prefix)]

    def read(self, name: str) -> StoredDocument | None:
        subject = str(self._named(name))
        found = self._documents.read_manifest(self._named(name))
        if found is None:
            return None
        readers = Readers(
            blob=lambda blob, limit: self._small(blob, limit, subject),
            manifest=lambda inner: self._manifest(inner, subject),
            platforms=self._platforms,
        )
        return unwrap(found[1], readers, name=name, subject=subject)

    def fetch(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        if not store.has(blob.digest, blob.size):
            RegistrySource(self._client, self._scratch).fetch(
                self.reference, blob, store, progress=progress
            )

    def has(self, blob: Descriptor) -> bool:
        found = self._target.has_blob(self.reference, blob)
        if not found:
            self._missing.add(blob.digest)
        return found

    def borrow(self, blob: Descriptor) -> bool:
        return bool(self._neighbours) and self._target.mount_blob(
            self.reference, blob, self._neighbours
        )

    def push(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        missing = blob.digest in self._missing
        self._missing.discard(blob.digest)
        self._target.push_blob(self.reference, blob, store, progress=progress, missing=missing)

    def write(self, document: StoredDocument) -> None:
        artifact = wrap(document, self._form)
        self._push_document(document, artifact)
        named = self._named(document.name)
        self._target.push_manifest(named, artifact.manifest, artifact.media_type)

    def remove(self, name: str) -> None:
        """Removes the tag, and its manifest, which no other name has."""
        named = self._named(name)
        found = self._documents.read_manifest(named)
        if found is not None:
            self._target.delete_manifest(replace(named, tag=None, digest=found[0].digest))

    def blobs(self) -> Sequence[tuple[Digest, int]]:
        """None: a registry collects its garbage itself."""
        return ()

    def remove_blob(self, digest: Digest) -> None:
        self._target.delete_blob(self.reference, digest)

    def _push_document(self, document: StoredDocument, artifact: Artifact) -> None:
        known = self._scratch.has(artifact.config.digest)
        self._scratch.put(document.data)
        try:
            self._target.push_blob(self.reference, artifact.config, self._scratch)
        finally:
            if not known:
                self._scratch.remove(artifact.config.digest)

    def _small(self, blob: Descriptor, limit: int, subject: str) -> bytes:
        if blob.size > limit:
            raise UnreadableCache(f"{subject}: {blob.size} bytes where {limit} are allowed")
        return self._documents.read_blob_bytes(self.reference, blob, limit)

    def _manifest(self, inner: Descriptor, subject: str) -> bytes:
        if inner.media_type not in mediatype.MANIFESTS:
            raise UnreadableCache(f"{subject}: {inner.digest} is not a manifest")
        named = replace(self.reference, tag=None, digest=inner.digest)
        found = self._documents.read_manifest(named)
        if found is None:
            raise UnreadableCache(f"{subject}: {inner.digest} is missing from the registry")
        return found[1]

    def _named(self, name: str) -> Reference:
        try:
            return replace(self.reference, tag=None, digest=parse_digest(name))
        except UserError:
            return replace(self.reference, tag=name, digest=None)
