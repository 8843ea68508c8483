"""The files of a layer, as a miss is explained with them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from lamina.cachekey.key import ListedFile
from lamina.layer.entry import Entry

_ENCODER = msgspec.msgpack.Encoder()


def listed_files(entries: Sequence[Entry], *, below: bytes = b"") -> tuple[ListedFile, ...]:
    """The entries as a miss is explained with them; `below` is dropped from their paths."""
    prefix = below + b"/" if below else b""
    return tuple(
        ListedFile(
            path=e.path.removeprefix(prefix),
            mode=e.mode,
            uid=e.uid,
            gid=e.gid,
            content=_content(e),
        )
        for e in entries
    )


def _content(entry: Entry) -> bytes:
    fields = (entry.kind, entry.link, entry.digest, entry.device, entry.xattrs)
    return hashlib.sha256(_ENCODER.encode(fields)).digest()[:8]
