"""Memos: small values that were computed from layers alone, so that nobody computes them again.

A key of a COPY from another stage holds the digest of the files that it takes. With the memo of it,
that is known on a machine which has none of these files.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from lamina.cache.elsewhere import Elsewhere
from lamina.cache.index import Index
from lamina.errors import UserError
from lamina.oci.digest import Digest, parse_digest


class Memo(msgspec.Struct, frozen=True, kw_only=True):
    """`key` alone decides `value`; `kind` says how."""

    kind: str
    key: bytes
    value: bytes


class Memos(Protocol):
    """Remembers memos, across builds."""

    def memo(self, kind: str, key: bytes) -> bytes | None: ...

    def add_memo(self, kind: str, key: bytes, value: bytes) -> None: ...


def known_digest(memos: Memos, kind: str, key: bytes) -> Digest | None:
    """A memo whose value is a digest. A cache may say anything: what is none is not known."""
    value = memos.memo(kind, key)
    try:
        return None if value is None else parse_digest(value.decode())
    except (UnicodeDecodeError, UserError):
        return None


class BuildMemos:
    """The memos of a build: those of the index, and of external caches where it has none.

    Safe for several threads. It knows what was asked, for the cache that this build exports.
    """

    def __init__(self, index: Index, elsewhere: Elsewhere | None = None) -> None:
        self._index = index
        self._elsewhere = elsewhere
        self._used: dict[tuple[str, bytes], bytes] = {}

    def memo(self, kind: str, key: bytes) -> bytes | None:
        value = self._index.memo(kind, key)
        if value is None and self._elsewhere is not None:
            value = self._elsewhere.memo(kind, key)
            if value is not None:
                self._index.add_memo(kind, key, value)
        if value is not None:
            self._used[kind, key] = value
        return value

    def add_memo(self, kind: str, key: bytes, value: bytes) -> None:
        self._index.add_memo(kind, key, value)
        self._used[kind, key] = value

    def used(self) -> tuple[Memo, ...]:
        """Every memo that this build asked for or made, in order."""
        return tuple(
            Memo(kind=kind, key=key, value=value) for (kind, key), value in self._used.items()
        )
