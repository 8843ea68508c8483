"""Manifests of any kind, small blobs and lists of tags: what is not an image for a platform."""

from __future__ import annotations

import re

import msgspec

from lamina.content.documents import MAX_MANIFEST
from lamina.content.errors import MalformedImage, NotFound, wrong_digest, wrong_size
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.reference import Reference
from lamina.registry.client import RegistryClient
from lamina.registry.errors import ServerFailed
from lamina.registry.hosts import Place, resolve_address
from lamina.registry.message import Answer, Request
from lamina.registry.resolve import ACCEPT

_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="?next"?')
_PAGE = 1000
_MAX_PAGES = 1000
_MAX_TAGS = 500_000
_MAX_LIST = 8 << 20


class _TagList(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] | None = None


class RegistryDocuments:
    """Reads from a repository. Safe for several threads.

    All methods raise Unauthorized, Unreachable, TooManyRequests or ServerFailed.
    """

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    def read_manifest(self, reference: Reference) -> tuple[Descriptor, bytes] | None:
        """The manifest by that digest, else tag, else `latest`; None where there is none.

        Its media type is what the registry says. Raises WrongDigest, MalformedImage.
        """
        try:
            return self._client.at_first(reference, lambda place: self._manifest(place, reference))
        except NotFound:
            return None

    def _manifest(self, place: Place, reference: Reference) -> tuple[Descriptor, bytes]:
        tail = f"manifests/{reference.digest or reference.tag or 'latest'}"
        answer, data = self._ask(
            place, tail, name=str(reference), limit=MAX_MANIFEST, accept=ACCEPT
        )
        media_type = answer.header("Content-Type").partition(";")[0].strip()
        if len(data) > MAX_MANIFEST:
            raise MalformedImage(f"{reference}: the manifest is larger than {MAX_MANIFEST} bytes")
        digest = digest_of(data)
        if reference.digest is not None and digest != reference.digest:
            raise wrong_digest(expected=reference.digest, got=digest)
        return Descriptor(media_type=media_type, digest=digest, size=len(data)), data

    def read_blob_bytes(self, reference: Reference, descriptor: Descriptor, limit: int) -> bytes:
        """A whole small blob, verified. Raises NotFound, WrongDigest, MalformedImage above
        `limit` bytes."""
        name = f"{reference.repository}@{descriptor.digest}"
        if descriptor.size > limit:
            raise MalformedImage(f"{name}: {descriptor.size} bytes where {limit} are allowed")
        data = self._client.at_first(reference, lambda place: self._blob(place, descriptor, name))
        if len(data) != descriptor.size:
            more = "more" if len(data) > descriptor.size else str(len(data))
            raise wrong_size(expected=descriptor.size, got=more)
        if digest_of(data) != descriptor.digest:
            raise wrong_digest(expected=descriptor.digest, got=digest_of(data))
        return data

    def list_tags(self, reference: Reference) -> tuple[str, ...]:
        """Every tag of the repository, as the registry orders them; none where there is no such
        repository."""
        try:
            return tuple(self._tags(self._client.place(reference), reference.repository))
        except NotFound:
            return ()

    def _blob(self, place: Place, descriptor: Descriptor, name: str) -> bytes:
        tail = f"blobs/{descriptor.digest}"
        return self._ask(place, tail, name=name, limit=descriptor.size)[1]

    def _tags(self, place: Place, name: str) -> list[str]:
        """Mirrors are not asked: they need not know every tag."""
        found: list[str] = []
        tail = f"tags/list?n={_PAGE}"
        for _ in range(_MAX_PAGES):
            answer, data = self._ask(place, tail, name=name, limit=_MAX_LIST)
            found += _tags(data, name)
            tail = _next_page(answer)
            if not tail or len(found) > _MAX_TAGS:
                break
        return found

    def _ask(
        self, place: Place, tail: str, *, name: str, limit: int, accept: str = "*/*"
    ) -> tuple[Answer, bytes]:
        request = Request(place=place, tail=tail, name=name, headers={"Accept": accept})
        return self._client.insist_whole(request, limit=limit)


def _tags(data: bytes, name: str) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(data, type=_TagList).tags or ()
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise ServerFailed(
            f"{name}: the registry sends no valid list of tags", retryable=False
        ) from None


def _next_page(answer: Answer) -> str:
    """The address of the next page (RFC 8288, as the distribution spec uses it), or nothing."""
    found = _NEXT.search(answer.header("Link"))
    return resolve_address(answer.url, found[1]) if found else ""
