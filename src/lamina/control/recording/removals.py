"""What was removed from the cache, when and by what: so that a step which runs again can say so.

ROOT/history/removed.jsonl      a line a removal, the newest last; at most a megabyte
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import msgspec

from lamina.oci.digest import Digest

_LARGEST = 1_000_000  # bytes


class Removal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Layers, blobs, cache mounts and records (by their keys) that `by` (`lamina cache prune`)
    removed `at`, in seconds since 1970. `why` is a text for people.
    """

    by: str
    at: float
    layers: tuple[Digest, ...] = ()
    keys: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()
    mounts: tuple[str, ...] = ()
    why: str = ""


def note_removal(root: str, removal: Removal) -> None:
    """Remember a removal. Best effort: nothing depends on it but an explanation."""
    path = _path(root)
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if os.path.exists(path) and os.path.getsize(path) > _LARGEST:
            os.replace(path, f"{path}.old")
        with open(path, "ab") as file:
            file.write(msgspec.json.encode(removal) + b"\n")


def find_removal(root: str, *, layers: Sequence[str], key: str) -> Removal | None:
    """The latest removal of one of the layers, or of the record with the key."""
    wanted = {*layers, key} - {""}
    for path in (_path(root), f"{_path(root)}.old"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            for line in reversed(file.readlines()):
                if not any(each.encode() in line for each in wanted):
                    continue
                with contextlib.suppress(msgspec.DecodeError):
                    return msgspec.json.decode(line, type=Removal)
    return None


def _path(root: str) -> str:
    return os.path.join(root, "history", "removed.jsonl")
