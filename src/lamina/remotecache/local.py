"""A cache in a folder: an OCI image layout, whose names are tags (`skopeo inspect oci:DIR:TAG`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from lamina.content.annotations import REF_NAME
from lamina.content.errors import NotFound, WrongDigest
from lamina.content.source import CountBytes
from lamina.content.store import BlobStore
from lamina.errors import HostError, UsageError, UserError
from lamina.fs.lock import locked
from lamina.fs.publish import publish_file
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of, parse_digest
from lamina.oci.manifest import Index, Manifest, empty_index, encode_document
from lamina.oci.platform import Platform
from lamina.remotecache.artifact import ArtifactForm, Readers, parse_form, unwrap, wrap
from lamina.remotecache.errors import UnreadableCache
from lamina.remotecache.options import Layout, boolean, parse_cache_options, required
from lamina.remotecache.place import CachePlace, Setting
from lamina.remotecache.port import DocumentEntry, StoredDocument

_MAX_MANIFEST = 8 << 20
_CHUNK = 1 << 20
_READ_KEYS = frozenset(("src", "tag", "digest"))
_WRITE_KEYS = frozenset(("dest", "tag", "reset", "image-manifest", "oci-mediatypes"))


def parse(attributes: Mapping[str, str], setting: Setting, *, writes: bool) -> CachePlace:
    """`type=local,src=DIR` or `type=local,dest=DIR`. Raises UsageError."""
    keys = _WRITE_KEYS if writes else _READ_KEYS
    options = parse_cache_options(attributes, kind="local", writes=writes, more=keys)
    path = required(attributes, "dest" if writes else "src", kind="local", writes=writes)
    digest = attributes.get("digest", "")
    if digest and options.layout is Layout.RECORDS:
        raise UsageError("digest= names one document, layout=records has many")
    try:
        name = parse_digest(digest) if digest else attributes.get("tag", "latest")
    except UserError as error:
        raise UsageError(f"digest={digest}: {error.message}") from None
    if not name:
        raise UsageError("tag= is empty", hint="leave it out for the tag latest")
    cache = LocalCache(path, platforms=setting.platforms, form=parse_form(attributes))
    return CachePlace(
        kind="local",
        address=cache.address,
        origin=f"oci-layout://{cache.address}",
        documents=(name,),
        options=options,
        connect=lambda: cache,
        reset=boolean(attributes, "reset", default=False),
    )


class LocalCache:
    """The layout at `path`. Reading makes nothing; the first write makes the folder.

    Two processes may write at once. Raises HostError where the disk refuses.
    """

    def __init__(
        self,
        path: str,
        *,
        platforms: tuple[Platform, ...] = (),
        form: ArtifactForm = ArtifactForm(),  # noqa: B008 - frozen
    ) -> None:
        self._path = os.path.abspath(path)
        self._platforms = platforms
        self._form = form
        self._opened: BlobStore | None = None

    @property
    def address(self) -> str:
        return self._path

    def names(self, prefix: str) -> Sequence[DocumentEntry]:
        tags = (each.annotations.get(REF_NAME, "") for each in self._index().manifests)
        return [DocumentEntry(name=tag) for tag in tags if tag and tag.startswith(prefix)]

    def read(self, name: str) -> StoredDocument | None:
        subject = f"{self._path}:{name}"
        top = self._find(name)
        if top is None:
            return None
        readers = Readers(
            blob=lambda blob, limit: self._small(blob.digest, limit),
            manifest=lambda inner: self._small(inner.digest, _MAX_MANIFEST),
            platforms=self._platforms,
        )
        return unwrap(self._small(top.digest, _MAX_MANIFEST), readers, name=name, subject=subject)

    def fetch(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        if store.has(blob.digest, blob.size):
            return
        try:
            _copy(self._blob_path(blob.digest), blob, store, progress)
        except FileNotFoundError:
            raise NotFound(f"{self._path}: the blob {blob.digest} is missing") from None
        except WrongDigest as error:
            raise WrongDigest(f"{self._path}: {blob.digest}: {error.message}") from None

    def has(self, blob: Descriptor) -> bool:
        return self._store().has(blob.digest, blob.size)

    def push(
        self, blob: Descriptor, store: BlobStore, *, progress: CountBytes | None = None
    ) -> None:
        target = self._store()
        if not target.has(blob.digest, blob.size):
            _copy(os.fspath(store.path(blob.digest)), blob, target, progress)

    def write(self, document: StoredDocument) -> None:
        store = self._store()
        artifact = wrap(document, self._form)
        store.put(document.data)
        store.put(artifact.manifest)
        named = replace(artifact.descriptor, annotations={REF_NAME: document.name})
        self._update(document.name, named)

    def remove(self, name: str) -> None:
        self._update(name, None)

    def blobs(self) -> Sequence[tuple[Digest, int]]:
        store = self._store()
        kept = self._reachable(store)
        return [(digest, store.size(digest)) for digest in store.digests() if digest not in kept]

    def remove_blob(self, digest: Digest) -> None:
        self._store().remove(digest)

    def reset(self) -> None:
        """Removes every blob that no document of the folder refers to."""
        with locked(self._lock_path()):
            for digest, _ in self.blobs():
                self.remove_blob(digest)

    def _store(self) -> BlobStore:
        if self._opened is None:
            self._opened = BlobStore(self._path)
        return self._opened

    def _blob_path(self, digest: Digest) -> str:
        return f"{self._path}/blobs/sha256/{digest.removeprefix('sha256:')}"

    def _lock_path(self) -> str:
        return f"{self._path}/index.json.lock"

    def _find(self, name: str) -> Descriptor | None:
        """By digest, which need not have a name, or by tag."""
        try:
            digest = parse_digest(name)
        except UserError:
            named = (e for e in self._index().manifests if e.annotations.get(REF_NAME) == name)
            return next(named, None)
        there = os.path.exists(self._blob_path(digest))
        return Descriptor(media_type="", digest=digest, size=0) if there else None

    def _small(self, digest: Digest, limit: int) -> bytes:
        try:
            with open(self._blob_path(digest), "rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise UnreadableCache(f"{self._path}: {digest}: {error.strerror}") from None
        if len(data) > limit or digest_of(data) != digest:
            raise UnreadableCache(f"{self._path}: the blob {digest} is damaged")
        return data

    def _index(self) -> Index:
        path = f"{self._path}/index.json"
        try:
            with open(path, "rb") as file:
                index = msgspec.json.decode(file.read(_MAX_MANIFEST), type=Index)
            for each in index.manifests:
                parse_digest(each.digest)
        except (FileNotFoundError, NotADirectoryError):
            return empty_index()
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}") from None
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise UnreadableCache(f"{path} is damaged: {str(error)[:200]}") from None
        except UserError as error:
            raise UnreadableCache(f"{path} is damaged: {error.message}") from None
        return index

    def _update(self, name: str, descriptor: Descriptor | None) -> None:
        """Gives the name to another manifest, or to none."""
        self._store()
        try:
            with locked(self._lock_path()):
                index = self._index()
                others = [e for e in index.manifests if e.annotations.get(REF_NAME) != name]
                manifests = (*others, *((descriptor,) if descriptor else ()))
                data = encode_document(replace(index, manifests=manifests))
                publish_file(f"{self._path}/index.json", data)
        except OSError as error:
            raise HostError(f"{self._path}/index.json: {error.strerror}") from None

    def _reachable(self, store: BlobStore) -> set[Digest]:
        found: set[Digest] = set()
        waiting = [each.digest for each in self._index().manifests]
        while waiting:
            digest = waiting.pop()
            if digest not in found:
                found.add(digest)
                waiting += _below(store, digest)
        return found


def _below(store: BlobStore, digest: Digest) -> Iterator[Digest]:
    """What a manifest or an index refers to; nothing for another blob, or one that is gone."""
    if not store.has(digest) or store.size(digest) > _MAX_MANIFEST:
        return
    data = store.read(digest, limit=_MAX_MANIFEST)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        yield from (each.digest for each in (manifest.config, *manifest.layers))
        return
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        pass
    try:
        index = msgspec.json.decode(data, type=Index)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return
    yield from (each.digest for each in index.manifests)


def _copy(path: str, blob: Descriptor, store: BlobStore, progress: CountBytes | None) -> None:
    """Copies a file into a store, verified. Raises FileNotFoundError."""
    try:
        with open(path, "rb") as file, store.writer(blob.digest, blob.size) as writer:
            while data := file.read(_CHUNK):
                writer.write(data)
                if progress is not None:
                    progress(len(data))
            writer.commit()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None
