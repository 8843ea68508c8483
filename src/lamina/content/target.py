"""Where images go: the port. Registries are its driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lamina.content.source import CountBytes
from lamina.content.store import BlobStore
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.oci.reference import Reference


class ImageTarget(Protocol):
    """Takes blobs, and the manifests that name them. Safe for several threads.

    All methods raise RemoteError.
    """

    def has_blob(self, reference: Reference, descriptor: Descriptor) -> bool:
        """Whether the repository of `reference` has the blob."""
        ...

    def mount_blob(
        self, reference: Reference, descriptor: Descriptor, sources: Sequence[Reference]
    ) -> bool:
        """Takes the blob over from the first of `sources`, repositories of the same registry, that
        has it; False if none has, or the registry does not do that.
        """
        ...

    def push_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        mount_from: Sequence[Reference] = (),
        progress: CountBytes | None = None,
    ) -> bool:
        """Sends a blob that lies in `store`; False if nothing had to be sent."""
        ...

    def push_manifest(self, reference: Reference, data: bytes, media_type: str) -> Digest:
        """Puts a manifest or an index under the reference's tag; without one, under its digest."""
        ...
