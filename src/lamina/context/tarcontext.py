"""A stream as the build context: a tar, compressed or not, or a Dockerfile alone.

The first bytes decide, as in BuildKit: what is compressed or starts with the header of a tar is an
archive, everything else is the text of a Dockerfile.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from lamina.context.archive import is_compressed, open_archive
from lamina.errors import UserError
from lamina.fs.streams import Peeked, Source
from lamina.layer.unpack import unpack_archive

_MAGIC: Final = 6
_LARGEST_DOCKERFILE: Final = 16 << 20


class ArchiveStream(msgspec.Struct, frozen=True):
    """A tar to be unpacked; `stream` gives it uncompressed."""

    stream: Source


class Dockerfile(msgspec.Struct, frozen=True):
    """The text of a Dockerfile."""

    content: bytes


def recognize(stream: Source) -> ArchiveStream | Dockerfile:
    """What the stream is. Raises UserError where it is empty, too large, or no archive inside."""
    peeked = Peeked(stream)
    head = peeked.peek(_MAGIC)
    archive = open_archive(peeked)
    if archive is not None:
        return ArchiveStream(archive)
    if is_compressed(head):
        raise UserError("the build context is compressed, but no tar is in it")
    content = peeked.peek(_LARGEST_DOCKERFILE + 1)
    if len(content) > _LARGEST_DOCKERFILE:
        raise UserError("the build context is neither a tar nor a Dockerfile: it is too large")
    return Dockerfile(content)


def open_stream(stream: Source, directory: str) -> Dockerfile | None:
    """Makes the stream a context: an archive is unpacked into the empty `directory`.

    A Dockerfile alone is returned; its context is the directory, which stays empty. Nothing in an
    archive gets out of the directory: that is a MalformedArchive (a UserError).
    """
    found = recognize(stream)
    if isinstance(found, Dockerfile):
        return found
    unpack_archive(found.stream, os.fsencode(directory))
    return None
