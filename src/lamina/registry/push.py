"""A repository to push to: blobs first, then the manifests that name them."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.content.errors import NotFound
from lamina.content.source import CountBytes
from lamina.content.store import BlobStore
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.oci.reference import Reference
from lamina.registry.client import RegistryClient
from lamina.registry.errors import ServerFailed
from lamina.registry.hosts import Place
from lamina.registry.message import PUSH, Answer, Body, Request
from lamina.registry.mount import mount_blob
from lamina.registry.upload import PART, has_blob, upload_blob


class RegistryTarget:
    """Puts blobs and manifests into the repository that a reference names, and removes them.

    Safe for several threads. All methods raise Unauthorized, Unreachable, TooManyRequests or
    ServerFailed, after as many tries as make sense.
    """

    def __init__(self, client: RegistryClient, *, part: int = PART) -> None:
        """`part` is how many bytes of a large blob are sent at once."""
        self._client = client
        self._part = part

    def has_blob(self, reference: Reference, descriptor: Descriptor) -> bool:
        """Whether the repository has a blob: one request without a body."""
        return has_blob(self._client, self._client.place(reference), descriptor)

    def mount_blob(
        self, reference: Reference, descriptor: Descriptor, sources: Sequence[Reference]
    ) -> bool:
        """Takes a blob over from another repository of the registry; False if none lends it."""
        place = self._client.place(reference)
        return mount_blob(self._client, place, descriptor, self._lenders(place, sources))

    def push_blob(
        self,
        reference: Reference,
        descriptor: Descriptor,
        store: BlobStore,
        *,
        mount_from: Sequence[Reference] = (),
        progress: CountBytes | None = None,
        missing: bool = False,
    ) -> bool:
        """Sends a blob of `store`; False if it was there already, and nothing was sent.

        `mount_from` are repositories that may have it: those of the same registry are asked to lend
        it. With `missing` nobody asks whether it is there. A broken connection is resumed where the
        registry says that it broke.
        """
        place = self._client.place(reference)
        return upload_blob(
            self._client,
            place,
            descriptor,
            store,
            lenders=self._lenders(place, mount_from),
            progress=progress,
            part=self._part,
            missing=missing,
        )

    def push_manifest(self, reference: Reference, data: bytes, media_type: str) -> Digest:
        """Puts a manifest or an index under the tag; where there is none, under its digest.

        What it refers to must be there. Raises ServerFailed if the registry keeps another digest.
        """
        digest = digest_of(data)
        with self._ask(
            reference,
            f"manifests/{reference.tag or digest}",
            method="PUT",
            body=data,
            headers={"Content-Type": media_type},
        ) as answer:
            kept = answer.header("Docker-Content-Digest")
        if kept.startswith("sha256:") and kept != digest:
            raise ServerFailed(
                f"{reference}: the registry has made {kept} of the manifest {digest}",
                retryable=False,
            )
        return digest

    def delete_manifest(self, reference: Reference) -> None:
        """Removes the manifest by digest, or only the tag where there is no digest.

        Does nothing where there is none. Raises ServerFailed where the registry lets nobody delete.
        """
        self._delete(reference, f"manifests/{reference.digest or reference.tag or 'latest'}")

    def delete_blob(self, reference: Reference, digest: Digest) -> None:
        """Removes a blob from the repository. As `delete_manifest`."""
        self._delete(reference, f"blobs/{digest}")

    def _lenders(self, place: Place, references: Sequence[Reference]) -> list[str]:
        places = [self._client.place(reference) for reference in references]
        return [
            each.path for each in places if each.domain == place.domain and each.path != place.path
        ]

    def _delete(self, reference: Reference, tail: str) -> None:
        try:
            self._ask(reference, tail, method="DELETE", actions=("pull", "delete")).close()
        except NotFound:
            return
        except ServerFailed as error:
            if error.status not in (400, 405, 501):
                raise
            raise ServerFailed(
                f"{reference}: {reference.domain} does not let anybody delete"
                f" (status {error.status})",
                retryable=False,
                status=error.status,
            ) from None

    def _ask(
        self,
        reference: Reference,
        tail: str,
        *,
        method: str,
        actions: tuple[str, ...] = PUSH,
        headers: dict[str, str] | None = None,
        body: bytes | Body | None = None,
    ) -> Answer:
        return self._client.insist(
            Request(
                place=self._client.place(reference),
                tail=tail,
                name=str(reference),
                actions=actions,
                method=method,
                headers=headers or {},
                body=body,
            )
        )
