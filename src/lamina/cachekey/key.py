"""A cache key is its named parts.

    instruction   RUN npm ci                        a short value is kept as it is
    env:PATH      /usr/local/bin:/usr/bin
    parent        sha256:3f…                        a tree by its digest
    files:src     sha256:90…                        many files by the digest of their listing

The key is the digest of the canonical encoding of all parts. The parts are stored with every
record, so that "why was this not cached?" is the difference between two keys and not a second
computation. A listing is stored beside them, once for all records that share it; only a miss ever
reads one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property

import msgspec

from lamina.oci.digest import Digest, digest_from, digest_of
from lamina.source import printable


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A named input of a step. `value` is short: a digest stands for what is long.

    Parts are stored and shown, so bytes that are not UTF-8 are spelled out; a digest keeps the
    value apart from one that is spelled that way.
    """

    name: str
    value: str

    def __post_init__(self) -> None:
        for field in ("name", "value"):
            text = getattr(self, field)
            clean = printable(text)
            if clean != text:
                raw = digest_of(text.encode("utf-8", "surrogatepass"))
                msgspec.structs.force_setattr(self, field, f"{clean} ({raw})")


class ListedFile(msgspec.Struct, frozen=True, array_like=True):
    """One path of a listing. `content` is a digest of everything but mode and owner (8 bytes
    suffice).
    """

    path: bytes
    mode: int
    uid: int
    gid: int
    content: bytes


class Listing(msgspec.Struct, frozen=True):
    """The files that one part of a key stands for. `files` makes the list when it is asked for.

    `costly`: layers may have to be fetched for that.
    """

    part: str
    digest: Digest
    files: Callable[[], tuple[ListedFile, ...]]
    costly: bool = False


class CacheKey(msgspec.Struct, frozen=True, dict=True):
    """The inputs of a step. Every listing's digest is also the value of the part of that name."""

    parts: tuple[Part, ...]
    listings: tuple[Listing, ...] = ()

    @cached_property
    def digest(self) -> Digest:
        # Every string is prefixed with its length, so no two lists of parts encode alike.
        data = msgspec.msgpack.encode(self.parts)
        return digest_from(hashlib.sha256(b"lamina key 1\n" + data).digest())
