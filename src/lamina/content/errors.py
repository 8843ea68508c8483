"""What can be wrong with an image or its blobs, wherever they come from.

The names are stable. Nothing in these messages comes from a remote side unchecked.
"""

from __future__ import annotations

from lamina.errors import RemoteError
from lamina.oci.digest import Digest
from lamina.oci.platform import Platform


class NotFound(RemoteError):
    """There is no such image, tag or blob."""


class WrongDigest(RemoteError):
    """Bytes that are not those that were asked for: another digest, or another size."""


class MalformedImage(RemoteError):
    """A manifest, an index, a configuration or a layout that breaks the OCI image spec."""


class NoMatchingPlatform(RemoteError):
    """An image that exists, but not for this platform; `offered` is what there is."""

    def __init__(self, subject: str, *, wanted: Platform, offered: tuple[Platform, ...]) -> None:
        there_is = ", ".join(dict.fromkeys(str(platform) for platform in offered)) or "nothing"
        super().__init__(
            f"{subject}: no match for platform in manifest: {wanted} is not offered,"
            f" there is {there_is}",
            hint="choose one of them with --platform" if offered else None,
        )
        self.wanted = wanted
        self.offered = offered


def wrong_digest(*, expected: Digest, got: Digest) -> WrongDigest:
    return WrongDigest(f"wrong digest: expected {expected}, got {got}", retryable=True)


def wrong_size(*, expected: int, got: str) -> WrongDigest:
    return WrongDigest(f"wrong size: expected {expected} bytes, got {got}", retryable=True)
