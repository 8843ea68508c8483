"""What a layer takes on disk, told from its manifest."""

from __future__ import annotations

from typing import Final

from lamina.layer.entry import Kind, Manifest

_BLOCK: Final = 4096  # bytes; what the file systems of Linux give out
_AROUND: Final = 3 * _BLOCK  # the layer's own directories, and the manifest's last block
_ENTRY: Final = 110  # bytes of the manifest


def weight(manifest: Manifest) -> int:
    """Bytes, rather too many than too few: sparse files count as if they were full."""
    total = _AROUND
    for entry in manifest.entries:
        total += _ENTRY
        if entry.kind is Kind.FILE:
            total += -(-entry.size // _BLOCK) * _BLOCK
        elif entry.kind is Kind.DIRECTORY:
            total += _BLOCK
    return total
