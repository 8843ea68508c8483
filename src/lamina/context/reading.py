"""Reading files of a context: digests and extended attributes, and what the file was when read."""

from __future__ import annotations

import hashlib
import os

from lamina.context.statindex import Record, Xattrs, stamp_of
from lamina.fs.copyfile import hash_content
from lamina.layer.contents import Contents
from lamina.layer.overlay import is_kept

# No link is followed; a FIFO that took a file's place does not block.
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_SMALL = 1 << 20


def read_xattrs(descriptor: int) -> Xattrs:
    """Those that a layer keeps, sorted by name.

    ACLs name users of this machine, and labels of security modules its policy: they stay here.
    """
    try:
        names = os.listxattr(descriptor)
    except OSError:  # a file system without them
        return ()
    if not names:
        return ()
    kept = sorted(name for name in map(os.fsencode, names) if is_kept(name))
    return tuple((name, os.getxattr(descriptor, name)) for name in kept)


def read_record(descriptor: int, size: int, contents: Contents) -> Record:
    """What the open file holds; `size` is the number of bytes to expect. Small `contents` are kept.

    The record's stamp is that of the moment after reading: if it differs from the one before, the
    file changed meanwhile. Raises OSError.
    """
    if size < _SMALL:
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            stamp = stamp_of(os.fstat(descriptor))
            digest = hashlib.sha256(data).digest()
            contents.keep(digest, data)
            return Record(stamp, digest, read_xattrs(descriptor))
    hasher = hashlib.sha256()
    hash_content(descriptor, size, hasher)
    stamp = stamp_of(os.fstat(descriptor))
    return Record(stamp, hasher.digest(), read_xattrs(descriptor))


def read_directory_record(descriptor: int) -> Record:
    """What is known of a directory besides what it holds."""
    return Record(stamp_of(os.fstat(descriptor)), b"", read_xattrs(descriptor))
