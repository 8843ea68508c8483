"""Registries as an image source."""

from __future__ import annotations

from lamina.content.documents import MAX_MANIFEST
from lamina.content.errors import MalformedImage, WrongDigest
from lamina.content.source import CountBytes, ResolvedImage, resolve_image
from lamina.content.store import MAX_DOCUMENT, BlobStore
from lamina.errors import UserError
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of, parse_digest
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference
from lamina.registry.blob import download_blob, fetch_blob
from lamina.registry.client import RegistryClient
from lamina.registry.errors import ServerFailed, Unreachable
from lamina.registry.hosts import Place
from lamina.registry.message import Answer, Request

ACCEPT = ", ".join(
    (mediatype.INDEX, mediatype.DOCKER_INDEX, mediatype.MANIFEST, mediatype.DOCKER_MANIFEST)
)


class RegistrySource:
    """Finds images in the registry that a reference names, and fetches their blobs.

    The documents of an image are kept in `store`, so that a name which still means the same costs
    one request without a body. Safe for several threads.
    """

    def __init__(self, client: RegistryClient, store: BlobStore) -> None:
        self._client = client
        self._store = store

    def resolve(self, reference: Reference, platform: Platform) -> ResolvedImage:
        """Finds an image.

        Raises NotFound, Unauthorized, Unreachable, TooManyRequests, ServerFailed, WrongDigest,
        NoMatchingPlatform, MalformedImage.
        """
        reference = reference.with_default_tag()
        try:
            return self._client.at_first(
                reference, lambda place: self._resolve(place, reference, platform)
            )
        except Unreachable as error:
            # Whoever mistypes a name without a network should see both what may be wrong.
            silent = not self._client.has_answered(reference.domain)
            error.message = (
                f"{reference}: not found ({error.message})"
                if silent
                else f"{reference}: {error.message}"
            )
            error.args = (error.message,)
            raise

    def fetch(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        progress: CountBytes | None = None,
    ) -> None:
        """Brings a blob into the store, verified, resuming after broken connections.

        Raises NotFound, Unauthorized, Unreachable, TooManyRequests, ServerFailed, WrongDigest.
        """
        fetch_blob(self._client, reference, descriptor, store, progress=progress)

    def _resolve(self, place: Place, reference: Reference, platform: Platform) -> ResolvedImage:
        repository = _Repository(self._client, place, self._store, name=str(reference))
        return resolve_image(
            repository.top(reference),
            read=repository.document,
            platform=platform,
            name=str(reference),
        )


class _Repository:
    """The documents of one repository, kept in the store."""

    def __init__(
        self, client: RegistryClient, place: Place, store: BlobStore, *, name: str
    ) -> None:
        self._client = client
        self._place = place
        self._store = store
        self._name = name

    def top(self, reference: Reference) -> Descriptor:
        """The manifest or index that the reference means now."""
        if reference.digest is not None:
            if self._store.has(reference.digest):
                return _descriptor(self._store.read(reference.digest), "")
            return self._get(str(reference.digest), expected=reference.digest)
        tag = reference.tag or "latest"
        found = self._head(tag)
        if found is None:
            return self._get(tag, expected=None)
        if self._store.has(found.digest):
            return found
        return self._get(str(found.digest), expected=found.digest)

    def _head(self, tag: str) -> Descriptor | None:
        """What a tag means; None where the registry does not say it without sending it."""
        try:
            with self._client.insist(self._request(f"manifests/{tag}", method="HEAD")) as answer:
                digest = parse_digest(answer.header("Docker-Content-Digest"))
                return Descriptor(
                    media_type=_media_type(answer), digest=digest, size=answer.length or 0
                )
        except UserError:
            return None
        except ServerFailed as error:
            if error.retryable or error.status is None:
                raise
            return None

    def _get(self, tail: str, *, expected: Digest | None) -> Descriptor:
        """Reads a manifest or an index into the store."""
        request = self._request(f"manifests/{tail}")
        answer, data = self._client.insist_whole(request, limit=MAX_MANIFEST)
        media_type = _media_type(answer)
        promised = answer.header("Docker-Content-Digest")
        if len(data) > MAX_MANIFEST:
            raise MalformedImage(f"{self._name}: the manifest is larger than {MAX_MANIFEST} bytes")
        descriptor = _descriptor(data, media_type)
        if expected is None and promised.startswith("sha256:"):
            expected = Digest(promised)
        if expected is not None and descriptor.digest != expected:
            raise _damaged(self._name, expected, descriptor.digest)
        self._store.put(data)
        return descriptor

    def document(self, wanted: Descriptor) -> bytes:
        """A manifest, an index or a configuration, from the store if it is there."""
        if not self._store.has(wanted.digest):
            if wanted.media_type in mediatype.INDEXES | mediatype.MANIFESTS:
                self._get(str(wanted.digest), expected=wanted.digest)
            elif wanted.size > MAX_DOCUMENT:
                raise MalformedImage(f"{self._name}: {wanted.digest} is too large for a document")
            else:
                download_blob(self._client, self._place, wanted, self._store)
        return self._store.read(wanted.digest)

    def _request(self, tail: str, *, method: str = "GET") -> Request:
        return Request(
            place=self._place,
            tail=tail,
            name=self._name,
            method=method,
            headers={"Accept": ACCEPT},
        )


def _descriptor(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))


def _media_type(answer: Answer) -> str:
    """The type of a document, without parameters; empty if the registry does not know it."""
    media_type = answer.header("Content-Type").partition(";")[0].strip()
    return media_type if media_type in mediatype.INDEXES | mediatype.MANIFESTS else ""


def _damaged(name: str, expected: Digest, got: Digest) -> WrongDigest:
    return WrongDigest(f"{name}: wrong digest: expected {expected}, got {got}")
