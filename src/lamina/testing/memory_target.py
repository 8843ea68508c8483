"""A registry in memory that takes images."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from lamina.content.errors import NotFound
from lamina.content.source import CountBytes
from lamina.content.store import BlobStore
from lamina.errors import RemoteError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.oci.reference import Reference


@dataclass
class MemoryTarget:
    """`lamina.content.target.ImageTarget` for as long as the process lives.

    `blobs` and `manifests` are by repository and digest, `tags` by repository and tag; `said` tells
    what was done, in order. A repository in `closed` takes nothing.
    """

    blobs: dict[tuple[str, Digest], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, Digest], bytes] = field(default_factory=dict)
    tags: dict[tuple[str, str], Digest] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def has_blob(self, reference: Reference, descriptor: Descriptor) -> bool:
        self._open(reference)
        return (reference.repository, descriptor.digest) in self.blobs

    def mount_blob(
        self, reference: Reference, descriptor: Descriptor, sources: Sequence[Reference]
    ) -> bool:
        self._open(reference)
        for source in sources:
            data = self.blobs.get((source.repository, descriptor.digest))
            if data is not None and source.domain == reference.domain:
                self._note("mount", descriptor.digest)
                self.blobs[reference.repository, descriptor.digest] = data
                return True
        return False

    def push_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        mount_from: Sequence[Reference] = (),
        progress: CountBytes | None = None,
    ) -> bool:
        if self.has_blob(reference, descriptor):
            return False
        if self.mount_blob(reference, descriptor, mount_from):
            return True
        with store.open(descriptor.digest) as file:
            data = file.read()
        if digest_of(data) != descriptor.digest or len(data) != descriptor.size:
            raise RemoteError(f"{reference}: digest mismatch")
        self._note("send", descriptor.digest)
        if progress is not None:
            progress(len(data))
        self.blobs[reference.repository, descriptor.digest] = data
        return True

    def push_manifest(self, reference: Reference, data: bytes, media_type: str) -> Digest:
        """Refuses what refers to blobs or manifests that are not here, as registries do."""
        import msgspec

        self._open(reference)
        document = msgspec.json.decode(data)
        here = {digest for place, digest in (*self.blobs, *self.manifests)}
        parts = document.get("manifests") or [document["config"], *document["layers"]]
        for part in parts:
            if part["digest"] not in here:
                raise NotFound(f"{reference}: {part['digest']} is unknown to the registry")
        digest = digest_of(data)
        self._note("manifest", reference.tag or digest)
        self.manifests[reference.repository, digest] = data
        if reference.tag is not None:
            self.tags[reference.repository, reference.tag] = digest
        return digest

    def _note(self, what: str, of: str) -> None:
        with self.lock:
            self.said.append((what, of))

    def _open(self, reference: Reference) -> None:
        if reference.repository in self.closed:
            raise RemoteError(f"{reference.repository}: denied")
