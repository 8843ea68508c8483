"""Tar streams of every kind, beside the standard library's writer."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.layer.pax import parse_map, parse_records, parse_time
from lamina.layer.reader import MalformedTar, Member, TarReader

NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/"), min_size=1
).filter(lambda name: name not in (".", ".."))


class Dripping:
    """Gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, step: int = 7) -> None:
        self._file = io.BytesIO(data)
        self._step = step

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._step))


def members(data: bytes) -> list[tuple[Member, bytes]]:
    reader = TarReader(io.BytesIO(data))
    found = []
    while (member := reader.next()) is not None:
        found.append((member, b"".join(reader.content())))
    return found


def header(**fields: object) -> bytes:
    """One ustar block, with any field replaced by raw bytes."""
    info = tarfile.TarInfo("name")
    info.size = 3
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    places = {"mode": 100, "size": 124, "mtime": 136, "kind": 156, "magic": 257}
    for field, value in fields.items():
        assert isinstance(value, bytes)
        block[places[field] : places[field] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@given(
    st.lists(
        st.tuples(
            st.lists(NAMES, min_size=1, max_size=4).map("/".join),
            st.binary(max_size=2000),
            st.integers(0, 0o7777),
            st.integers(0, 1 << 31),
            st.integers(0, 1 << 40),
            st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=150),
        ),
        max_size=4,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_reads_what_tarfile_writes(
    files: list[tuple[str, bytes, int, int, int, str]], form: int
) -> None:
    """Names, contents, modes, owners, times and links of both formats come back."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data, mode, uid, mtime, link in files:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = mode, uid, uid // 2, mtime
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            info.size = 0 if link else len(data)
            tar.addfile(info, io.BytesIO(data))
    found = members(out.getvalue())
    assert [member.name.decode() for member, _ in found] == [name for name, *_ in files]
    for (member, content), (_, data, mode, uid, mtime, link) in zip(found, files, strict=True):
        assert (member.mode, member.uid, member.gid) == (mode, uid, uid // 2)
        assert member.mtime_ns == (mtime * 10**9 if mtime * 10**9 < 1 << 63 else 0)
        assert member.link.decode() == link
        assert content == (b"" if link else data)
        assert member.kind == (b"2" if link else b"0")


@given(st.integers(1, 1500))
def test_short_reads_do_not_matter(step: int) -> None:
    """A stream that gives little at a time reads as one that gives all."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a", "b" * 300):
            info = tarfile.TarInfo(name)
            info.size = 1300
            tar.addfile(info, io.BytesIO(b"x" * 1300))
    reader = TarReader(Dripping(out.getvalue(), step))
    first = reader.next()
    assert first is not None
    assert first.name == b"a"
    second = reader.next()
    assert second is not None
    assert second.name == b"b" * 300
    assert reader.whole() == b"x" * 1300
    assert reader.next() is None


def test_v7_directories_end_with_a_slash() -> None:
    """Tars older than POSIX have no type for directories."""
    info = tarfile.TarInfo("dir/")
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[156:157] = b"\0"
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert members(bytes(block))[0][0].kind == b"5"


def test_checksums_of_signed_bytes_are_accepted() -> None:
    """Some old tars added the bytes of a header as signed numbers."""
    info = tarfile.TarInfo("caf\udce9")
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "surrogateescape"))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % (sum(block) - 256)
    assert members(bytes(block))[0][0].name == b"caf\xe9"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header()[:300], "ends in the middle"),
        (header() + b"xy", "ends in the middle"),
        (b"x" * 512, "no number|checksum"),
        (header()[:-1] + b"x", "checksum"),
        (header(size=b"00000000009x"), "no number"),
        (header(size=b"\xff" + b"\xff" * 11), "negative or absurd"),
        (header(size=b"\x80" + b"\xff" * 11), "negative or absurd"),
        (bytes(512) + header(), "after the end"),
        (header(kind=b"x") + b"3 a".ljust(512, b"\0"), "pax record"),
        (header(kind=b"x", size=b"00000000012\0") + b"99 path=ab\n".ljust(512, b"\0"), "pax"),
        (header(kind=b"x", size=b"00010000000\0"), "larger than 1 MiB"),
        (header(kind=b"L") + b"abc".ljust(512, b"\0"), "after an extended header"),
        (header(kind=b"x", size=b"00000000014\0") + b"12 size=-1\n\0".ljust(512, b"\0"), "pax"),
        (
            header(kind=b"x", size=b"00000000014\0")
            + b"12 path=a\0b\n".ljust(512, b"\0")
            + header(),
            "zero byte",
        ),
    ],
)
def test_malformed_tars(data: bytes, reason: str) -> None:
    """Every kind of damage is an error that names the place."""
    with pytest.raises(MalformedTar, match=reason) as caught:
        members(data)
    assert "at byte" in caught.value.message


def test_end_without_mark() -> None:
    """A tar that just ends after a member is complete, as other readers see it."""
    assert len(members(header() + b"abc" + bytes(509))) == 1
    assert len(members(header() + b"abc")) == 1
    assert members(b"") == []


@pytest.mark.parametrize("numbers", [[5, 1, 0, 1], [0, -1], [0, 20], [0, 1, 2], [0, 3]], ids=str)
def test_sparse_maps_are_checked(numbers: list[int]) -> None:
    """The pieces of a sparse file are in order, inside it, and as long as what is stored."""
    with pytest.raises(ValueError, match="sparse"):
        parse_map(numbers, size=10, stored=2)


@given(st.integers(-(10**18), 10**18))
def test_times_round_trip(ns: int) -> None:
    """A time written as decimal seconds is the same time to the nanosecond."""
    sign, rest = ("-", -ns) if ns < 0 else ("", ns)
    assert parse_time(f"{sign}{rest // 10**9}.{rest % 10**9:09d}".encode()) == ns


@given(st.dictionaries(st.binary(min_size=1).filter(lambda k: b"=" not in k), st.binary()))
def test_records_round_trip(records: dict[bytes, bytes]) -> None:
    """Values may hold any byte, newlines and equal signs included."""
    data = b""
    for key, value in records.items():
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest)
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        data += b"%d" % length + rest
    assert parse_records(data) == list(records.items())
