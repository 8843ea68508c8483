"""Content digests (OCI image spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from typing import NewType

from lamina.errors import UserError

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits. Made by the functions of this module alone."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def parse_digest(text: str) -> Digest:
    """Text to digest; only sha256 is known. Raises UserError."""
    if not _DIGEST.match(text):
        raise UserError(f"{text!r} is not a sha256 digest")
    return Digest(text)


def digest_of(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def digest_from(raw: bytes) -> Digest:
    """The digest whose 32 bytes are `raw`."""
    return Digest("sha256:" + raw.hex())


def encoded(digest: Digest) -> str:
    """The 64 hexadecimal digits."""
    return digest.removeprefix("sha256:")
