"""The header blocks of a tar entry: ustar where that is enough, pax records before it where not.

Written by hand because the layer of a package manager has tens of thousands of them, and because
every byte is a part of the layer's digest: the same entry always gives the same bytes.
Names are raw bytes in both forms, as readers expect of file systems that know no encoding.
See POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header".
"""

from __future__ import annotations

import functools
import zlib
from typing import Final

from lamina.layer.entry import Entry, Kind

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)

_TYPES: Final = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
    Kind.WHITEOUT: b"0",
}
_NAME: Final = 100
_PREFIX: Final = 155
_SMALL_NUMBER: Final = 0o7777777
_LARGE_NUMBER: Final = 0o77777777777
_SECOND: Final = 1_000_000_000


def encode_header(entry: Entry, name: bytes, mtime_ns: int) -> bytes:
    """The blocks that stand before the content of `entry`, which the tar calls `name`.

    A directory's name ends with a slash.
    """
    records: list[bytes] = []
    names: list[bytes] = []  # those that are in the records
    split = split_name(name)
    if split is None:
        names.append(name)
        records.append(_record(b"path", name))
        split = name[:_NAME].rstrip(b"/"), b""
    short, prefix = split
    link = entry.link
    if len(link) > _NAME:
        names.append(link)
        records.append(_record(b"linkpath", link))
        link = link[:_NAME]
    uid = _fitting(b"uid", entry.uid, _SMALL_NUMBER, records)
    gid = _fitting(b"gid", entry.gid, _SMALL_NUMBER, records)
    size = _fitting(b"size", entry.size, _LARGE_NUMBER, records)
    seconds, fraction = divmod(mtime_ns, _SECOND)
    if fraction or not 0 <= seconds <= _LARGE_NUMBER:
        records.append(_record(b"mtime", _decimal(mtime_ns)))
        seconds = max(0, min(seconds, _LARGE_NUMBER))
    for key, value in entry.xattrs:
        records.append(_record(b"SCHILY.xattr." + key, value))
    header = _ustar(
        short,
        prefix=prefix,
        mode=entry.mode,
        owner=(uid, gid),
        size=size,
        seconds=seconds,
        kind=_TYPES[entry.kind],
        link=link,
        device=entry.device,
    )
    if not records:
        return header
    if names and not _is_text(b"".join(names)):
        records.insert(0, _record(b"hdrcharset", b"BINARY"))
    return encode_records(b"".join(records)) + header


def encode_records(records: bytes) -> bytes:
    """The pax header that holds `records`."""
    return _pax_header(len(records)) + records + bytes(-len(records) % BLOCK)


def split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """Name and prefix for the two fields of ustar, None if it does not fit."""
    if len(name) <= _NAME:
        return name, b""
    if len(name) > _NAME + 1 + _PREFIX:
        return None
    cut = name.find(b"/", len(name) - _NAME - 1, len(name) - 1)
    if not 0 < cut <= _PREFIX:
        return None
    return name[cut + 1 :], name[:cut]


def _fitting(key: bytes, number: int, largest: int, records: list[bytes]) -> int:
    """What the field of the header holds: the number, or 0 and a record besides."""
    if number <= largest:
        return number
    records.append(_record(key, b"%d" % number))
    return 0


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value`, where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _decimal(ns: int) -> bytes:
    """Nanoseconds as seconds, with no more digits than needed."""
    seconds, fraction = divmod(abs(ns), _SECOND)
    sign = b"-" if ns < 0 else b""
    if not fraction:
        return b"%b%d" % (sign, seconds)
    return (b"%b%d.%09d" % (sign, seconds, fraction)).rstrip(b"0")


def _ustar(
    name: bytes,
    *,
    size: int,
    kind: bytes,
    prefix: bytes = b"",
    mode: int = 0o644,
    owner: tuple[int, int] = (0, 0),
    seconds: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """The one block of a header whose fields all fit (POSIX ustar)."""
    block = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\x0000%b%07o\0%07o\0%b" % (
        name.ljust(_NAME, b"\0"),
        mode,
        *owner,
        size,
        seconds,
        kind,
        link.ljust(_NAME, b"\0"),
        bytes(64),
        *device,
        prefix.ljust(_PREFIX + 12, b"\0"),
    )
    # The checksum is the sum of the bytes. Adler-32 holds it, plus one, modulo 65521, which no
    # block of ASCII reaches; adding up in the interpreter takes longer than all the rest here.
    total = (zlib.adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)
    return b"%b%06o\0 %b" % (block[:148], total, block[156:])


@functools.lru_cache(maxsize=1024)
def _pax_header(size: int) -> bytes:
    return _ustar(b"PaxHeaders.0/entry", size=size, kind=b"x")


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
