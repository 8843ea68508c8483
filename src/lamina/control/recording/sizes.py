"""How many bytes of files the steps of a build have added."""

from __future__ import annotations

from lamina.control.store import Store, open_store
from lamina.errors import LaminaError
from lamina.oci.digest import parse_digest
from lamina.trace.record import BuildRecord


def sizes_of(root: str, record: BuildRecord) -> dict[str, int]:
    """By the key of a step: as the record has them, else as the store still holds the layers."""
    from lamina.trace.steps import steps_of  # spares the builds, which need only `size_of`

    found = dict(record.sizes)
    store = open_store(root)
    for step in steps_of(record.events).values():
        if step.key and step.key not in found:
            size = size_of(store, step.key)
            if size is not None:
                found[step.key] = size
    return found


def size_of(store: Store, key: str) -> int | None:
    """The bytes of the last layer that the step with this key made; None if it is not here."""
    try:
        record = store.index.record(parse_digest(key))
        if record is None or not record.stack or not store.layers.has(record.stack[-1].id):
            return None
        return sum(entry.size for entry in store.layers.manifest(record.stack[-1].id).entries)
    except LaminaError:
        return None
