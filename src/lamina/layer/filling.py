"""The contents of files as they come out of a tar: written with their holes, and hashed."""

from __future__ import annotations

import hashlib
import os
from typing import Final

from lamina.fs.copyfile import hash_zeros
from lamina.layer.batch import write_all as write_all
from lamina.layer.pax import Map
from lamina.layer.reader import TarReader

SMALL: Final = 64 * 1024
"""Up to so many bytes, a content is written in one piece and has no holes."""

_ZEROS: Final = bytes(SMALL)


def write_pieces(descriptor: int, reader: TarReader, pieces: Map, size: int) -> bytes:
    """Writes the pieces of a file, which may have holes between them; returns the digest of all.

    Raises OSError, and MalformedTar where the stream is damaged.
    """
    hasher = hashlib.sha256()
    content = reader.content()
    end = 0
    left = memoryview(b"")
    for offset, length in pieces:
        hash_zeros(hasher, offset - end)
        if offset != end:
            os.lseek(descriptor, offset, os.SEEK_SET)
        end = offset + length
        missing = length
        while missing:
            left = left or memoryview(next(content))
            part, left = left[:missing], left[missing:]
            hasher.update(part)
            missing -= len(part)
            _write_or_skip(descriptor, part)
    hash_zeros(hasher, size - end)
    os.ftruncate(descriptor, size)
    return hasher.digest()


def _write_or_skip(descriptor: int, data: memoryview) -> None:
    """Writes; stretches of zeros become holes."""
    while data:
        piece, data = data[:SMALL], data[SMALL:]
        if piece[0] == 0 == piece[-1] and bytes(piece) == _ZEROS[: len(piece)]:
            os.lseek(descriptor, len(piece), os.SEEK_CUR)
            continue
        while piece:
            piece = piece[os.write(descriptor, piece) :]
