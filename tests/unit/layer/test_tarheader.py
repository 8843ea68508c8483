"""The headers we write, read back by the standard library and by our own reader."""

from __future__ import annotations

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from lamina.layer.entry import Entry, Kind
from lamina.layer.reader import TarReader
from lamina.layer.tarheader import encode_header, split_name

PART = st.binary(min_size=1, max_size=90).filter(
    lambda part: part not in (b".", b"..") and not {0, 0x2F} & set(part)
)
NAME = st.lists(PART, min_size=1, max_size=5).map(b"/".join)
ENTRY = st.builds(
    Entry,
    path=NAME,
    kind=st.sampled_from([Kind.FILE, Kind.SYMLINK, Kind.DIRECTORY, Kind.FIFO, Kind.CHARACTER]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, (1 << 32) - 2),
    gid=st.integers(0, (1 << 32) - 2),
    mtime_ns=st.integers(-(1 << 62), (1 << 63) - 1),
    xattrs=st.lists(
        st.tuples(st.just(b"user.a") | st.just(b"user.b"), st.binary()),
        unique_by=lambda pair: pair[0],
    ).map(lambda pairs: tuple(sorted(pairs))),
)


@given(ENTRY, NAME)
def test_headers_round_trip(entry: Entry, link: bytes) -> None:
    """Any name, owner, time and attribute comes back from the blocks that were written."""
    is_link = entry.kind is Kind.SYMLINK
    name = entry.path + (b"/" if entry.kind is Kind.DIRECTORY else b"")
    entry = Entry(
        path=entry.path,
        kind=entry.kind,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        link=link if is_link else b"",
        xattrs=entry.xattrs,
        device=(259, 70000) if entry.kind is Kind.CHARACTER else (0, 0),
        mtime_ns=entry.mtime_ns,
    )
    data = encode_header(entry, name, entry.mtime_ns)
    assert len(data) % 512 == 0
    member = TarReader(io.BytesIO(data)).next()
    assert member is not None
    assert (member.name, member.link) == (name, entry.link)
    assert (member.mode, member.uid, member.gid) == (entry.mode, entry.uid, entry.gid)
    assert (member.mtime_ns, member.xattrs) == (entry.mtime_ns, entry.xattrs)
    assert member.device == entry.device


@given(ENTRY)
def test_standard_library_reads_our_headers(entry: Entry) -> None:
    """An independent reader sees the same names and owners."""
    if entry.kind is Kind.CHARACTER:
        return
    data = encode_header(entry, entry.path, entry.mtime_ns) + bytes(1024)
    # Without text in it, the standard library needs to be told that names are bytes.
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        (info,) = tar.getmembers()
    name = info.name.encode("utf-8", "surrogateescape")
    assert name.rstrip(b"/") == entry.path.rstrip(b"/")
    assert (info.uid, info.gid, info.mode) == (entry.uid, entry.gid, entry.mode)


def test_huge_files_need_a_record() -> None:
    """Eight gibibytes do not fit into the size field of ustar."""
    for size in (8 * 1024**3 - 1, 8 * 1024**3, 1 << 50):
        entry = Entry(path=b"huge", kind=Kind.FILE, size=size)
        data = encode_header(entry, b"huge", 0)
        member = TarReader(io.BytesIO(data)).next()
        assert member is not None
        assert member.size == size
        assert len(data) == (512 if size < 8 * 1024**3 else 1536)
        info = tarfile.open(fileobj=io.BytesIO(data)).next()  # noqa: SIM115
        assert info is not None
        assert info.size == size


@given(st.binary(min_size=1, max_size=300).filter(lambda name: 0 not in name))
def test_split_names_join_again(name: bytes) -> None:
    """Name and prefix fit their fields and make the name again."""
    split = split_name(name)
    if split is None:
        return
    short, prefix = split
    assert len(short) <= 100
    assert len(prefix) <= 155
    assert (prefix + b"/" + short if prefix else short) == name


def test_plain_files_need_one_block() -> None:
    """Nothing but what ustar cannot hold makes an extended header."""
    entry = Entry(path=b"a/b", kind=Kind.FILE, mode=0o644, size=5)
    assert len(encode_header(entry, b"a/b", 10**9)) == 512
    assert len(encode_header(entry, b"a/b", 10**9 + 1)) == 1536
    assert len(encode_header(entry, b"a/" * 60 + b"\xff\xfe", 10**9)) == 512
