"""What is remembered of a layer as a blob, so that it need not be written again."""

from __future__ import annotations

import msgspec

from lamina.oci.digest import Digest


class KnownBlob(msgspec.Struct, frozen=True, kw_only=True):
    """A layer in one form: digest and size in bytes of the blob, and the digest of the plain tar.

    For the uncompressed form, `digest` is `diff_id`.
    """

    digest: Digest
    size: int
    diff_id: Digest
