"""What changed in the text of files, as far as layers still hold both versions.

A listing keeps the beginning of a file's digest, and a layer's manifest the whole: so the content
is found wherever the step has put the file, and under whatever name.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence

from lamina.cachekey.difference import Change
from lamina.control.store import Store
from lamina.errors import LaminaError
from lamina.layer.entry import Kind
from lamina.oci.digest import parse_digest

_LARGEST = 1 << 20  # bytes of a file that is compared
_MOST_FILES = 20
_MOST_LINES = 200  # of one file


def text_diff(store: Store, changes: Sequence[Change], keys: Sequence[str]) -> str:
    """Unified diffs of the changed files. `keys` are those of the steps that took them."""
    wanted = [
        (change.part.removeprefix("file:"), change.before, change.after)
        for change in changes
        if change.part.startswith("file:") and change.before and change.after
    ][:_MOST_FILES]
    needed = {bytes.fromhex(each) for _, *both in wanted for each in both if each}
    contents = dict(_contents(store, keys, needed)) if needed else {}
    texts = []
    for path, before, after in wanted:
        assert before is not None
        assert after is not None
        old, new = contents.get(bytes.fromhex(before)), contents.get(bytes.fromhex(after))
        texts.append(_compared(path, old, new))
    return "".join(texts)


def _compared(path: str, old: bytes | None, new: bytes | None) -> str:
    if old is None or new is None:
        return f"--- {path}: its {'earlier ' if old is None else ''}content is not kept any more\n"
    if b"\0" in old or b"\0" in new:
        return f"--- {path}: binary, {len(old)} bytes before, {len(new)} now\n"
    lines = difflib.unified_diff(
        old.decode("utf-8", "replace").splitlines(),
        new.decode("utf-8", "replace").splitlines(),
        f"{path} (before)",
        f"{path} (now)",
        lineterm="",
    )
    shown = list(lines)
    if len(shown) > _MOST_LINES:
        shown[_MOST_LINES:] = [f"({len(shown) - _MOST_LINES} more lines)"]
    return "".join(f"{line}\n" for line in shown)


def _contents(
    store: Store, keys: Sequence[str], needed: set[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """What the last layers of the steps hold of the files whose digests begin so."""
    length = len(next(iter(needed)))
    for key in filter(None, keys):
        try:
            record = store.index.record(parse_digest(key))
            if record is None or not record.stack or not store.layers.has(record.stack[-1].id):
                continue
            layer = record.stack[-1].id
            entries = store.layers.manifest(layer).entries
        except LaminaError:
            continue
        folder = os.fsencode(store.layers.diff_dir(layer))
        for entry in entries:
            if entry.kind is Kind.FILE and entry.digest[:length] in needed:
                content = _read(os.path.join(folder, entry.path))
                if content is not None:
                    yield entry.digest[:length], content


def _read(path: bytes) -> bytes | None:
    """A file of a layer; None for one that is too large or not there any more."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(number, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError:
        return None
    return data if len(data) <= _LARGEST else None
