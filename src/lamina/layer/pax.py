"""Extended headers of a tar: pax records, GNU long names, and maps of sparse files.

Pure parsing; what is wrong is a ValueError with a sentence.
See POSIX.1-2017, "pax Extended Header", and the manual of GNU tar, "Storing Sparse Files".
"""

from __future__ import annotations

from typing import Final

Map = tuple[tuple[int, int], ...]
"""The pieces of a sparse file that are in the tar: (offset, size), in order."""

_SECOND: Final = 1_000_000_000
_MOST_SPARSE: Final = 1 << 40


class Meta:
    """What the extended headers before a member say. `sparse` are the GNU.sparse records."""

    __slots__ = ("link", "name", "records", "sparse", "used")

    def __init__(self) -> None:
        self.used = False
        self.name: bytes | None = None
        self.link: bytes | None = None
        self.records: dict[bytes, bytes] = {}
        self.sparse: dict[bytes, bytes] = {}

    def read(self, kind: bytes, data: bytes) -> None:
        """Takes the content of a header of the type L, K or x. Global ones (g) say nothing."""
        if kind == b"g":
            return  # Docker ignores them too
        self.used = True
        if kind == b"L":
            self.name = data.rstrip(b"\0")
        elif kind == b"K":
            self.link = data.rstrip(b"\0")
        else:
            self._read_records(data)

    def _read_records(self, data: bytes) -> None:
        pieces = []
        for key, value in parse_records(data):
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                pieces.append(value)
            elif key.startswith(b"GNU.sparse."):
                self.sparse[key] = value
            else:
                self.records[key] = value
        if pieces:
            self.sparse[b"GNU.sparse.map"] = b",".join(pieces)


def parse_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """`length key=value` lines, where the length counts the whole line."""
    records = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = data[at:space] if space > 0 else b""
        end = at + int(length) if length.isdigit() else 0
        equals = data.find(b"=", space, end)
        if equals < 0 or not at < end <= len(data) or data[end - 1] != 0x0A:
            raise ValueError("a pax record is broken")
        records.append((data[space + 1 : equals], data[equals + 1 : end - 1]))
        at = end
    return records


def parse_decimal(text: bytes) -> int:
    """A number that is not negative."""
    if not text.isdigit() or len(text) > 20:
        raise ValueError("a pax record has a wrong number")
    return int(text)


def parse_time(text: bytes) -> int:
    """Seconds with a fraction, as nanoseconds; digits after the ninth are dropped."""
    whole, _, fraction = text.partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 20 or (fraction and not fraction.isdigit()):
        raise ValueError("a pax record has a wrong time")
    value = int(digits) * _SECOND + int(fraction[:9].ljust(9, b"0"))
    return -value if whole.startswith(b"-") else value


def parse_map(numbers: list[int], *, size: int, stored: int) -> Map:
    """Checks offsets and sizes against the file's size and what is stored of it."""
    if len(numbers) % 2 or not 0 <= size <= _MOST_SPARSE:
        raise ValueError("a sparse file has an absurd size or map")
    pieces = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in pieces:
        if offset < end or length < 0 or offset + length > size:
            raise ValueError("a sparse map is not in order")
        end = offset + length
    if sum(length for _, length in pieces) != stored:
        raise ValueError("a sparse map does not fit its content")
    return tuple(piece for piece in pieces if piece[1])
