"""What a manifest may say; everything else is refused before a file is made."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lamina.content.compression import zstd_module
from lamina.layer.entry import Entry, Kind
from lamina.oci.digest import digest_from
from lamina.remotecache.mounts.cutting import ends_after, identity, identity_of_large
from lamina.remotecache.mounts.manifest import (
    VERSION,
    Chunk,
    Extent,
    MalformedState,
    MountManifest,
    Pack,
    decode,
    deflated,
    encode,
    inflated,
)

DATA = b"some bytes"
PACK = Pack(identity(b"the pack"), 1000)
CHUNK = Chunk(identity(DATA), 0, 0, 500, len(DATA))
FILE = Entry(path=b"d/file", kind=Kind.FILE, mode=0o644, size=10, digest=identity(DATA))
GOOD = MountManifest(
    version=VERSION,
    entries=(
        Entry(path=b"d", kind=Kind.DIRECTORY, mode=0o755),
        FILE,
        Entry(path=b"d/hard", kind=Kind.HARDLINK, link=b"d/file"),
        Entry(path=b"link", kind=Kind.SYMLINK, mode=0o777, link=b"../../etc/passwd"),
    ),
    contents={FILE.digest: (Extent(0, 0, 10),)},
    chunks=(CHUNK,),
    packs=(PACK,),
)


def read(manifest: MountManifest) -> MountManifest:
    return decode(encode(manifest), packs=[digest_from(PACK.digest)])


def test_what_is_written_is_read() -> None:
    """As it was."""
    assert read(GOOD) == GOOD


@pytest.mark.parametrize(
    "path",
    [
        *(b"..", b"../x", b"d/..", b"d/../x", b".", b"d/.", b"/etc", b"d//x", b"", b"d/", b"a\0b"),
        *(b"link/x", b"d/file/x", b"nowhere/x", b"d", b"n" * 256, b"d/" + b"n/" * 2000 + b"n"),
    ],
)
def test_no_path_leaves_the_folder(path: bytes) -> None:
    """None goes through a symlink or a file, and none stands twice."""
    stray = Entry(path=path, kind=Kind.DIRECTORY, mode=0o755)
    with pytest.raises(MalformedState):
        read(replace(GOOD, entries=(*GOOD.entries, stray)))


@pytest.mark.parametrize(
    "entry",
    [
        Entry(path=b"x", kind=Kind.CHARACTER, device=(1, 3)),
        Entry(path=b"x", kind=Kind.BLOCK, device=(8, 0)),
        Entry(path=b"x", kind=Kind.WHITEOUT),
        Entry(path=b"x", kind=Kind.DIRECTORY, opaque=True),
        Entry(path=b"x", kind=Kind.DIRECTORY, mode=0o10000),
        Entry(path=b"x", kind=Kind.DIRECTORY, mode=-1),
        Entry(path=b"x", kind=Kind.DIRECTORY, uid=-1),
        Entry(path=b"x", kind=Kind.DIRECTORY, gid=1 << 32),
        Entry(path=b"x", kind=Kind.DIRECTORY, xattrs=((b"user.a\0b", b""),)),
        Entry(path=b"x", kind=Kind.DIRECTORY, xattrs=((b"trusted.overlay.redirect", b"/"),)),
        Entry(path=b"x", kind=Kind.HARDLINK, link=b"link"),
        Entry(path=b"x", kind=Kind.HARDLINK, link=b"../x"),
        Entry(path=b"x", kind=Kind.SYMLINK, link=b""),
        Entry(path=b"x", kind=Kind.FILE, size=11, digest=FILE.digest),
        Entry(path=b"x", kind=Kind.FILE, size=10, digest=b"unknown"),
        Entry(path=b"x", kind=Kind.FILE, size=-10, digest=b""),
        Entry(path=b"x", kind=Kind.FIFO, size=1 << 60),
    ],
    ids=repr,
)
def test_nothing_odd_is_made(entry: Entry) -> None:
    """No devices, no attributes of the kernel's own, no file without its content."""
    with pytest.raises(MalformedState):
        read(replace(GOOD, entries=(*GOOD.entries, entry)))


@pytest.mark.parametrize(
    "changed",
    [
        replace(GOOD, version=2),
        replace(GOOD, packs=(Pack(identity(b"another"), 1000),)),
        replace(GOOD, packs=(Pack(b"short", 1000),)),
        replace(GOOD, packs=(Pack(PACK.digest, 400),)),
        replace(GOOD, chunks=(replace(CHUNK, pack=1),)),
        replace(GOOD, chunks=(replace(CHUNK, pack=-1),)),
        replace(GOOD, chunks=(replace(CHUNK, offset=-1),)),
        replace(GOOD, chunks=(replace(CHUNK, size=1 << 30),)),
        replace(GOOD, chunks=(replace(CHUNK, stored=0),)),
        replace(
            GOOD,
            packs=(Pack(PACK.digest, 1 << 33),),
            chunks=(replace(CHUNK, stored=1 << 32),),
        ),
        replace(GOOD, contents={FILE.digest: (Extent(1, 0, 10),)}),
        replace(GOOD, contents={FILE.digest: (Extent(-1, 0, 10),)}),
        replace(GOOD, contents={FILE.digest: (Extent(0, 1, 10),)}),
        replace(GOOD, contents={FILE.digest: (Extent(0, -1, 10),)}),
        replace(GOOD, contents={FILE.digest: (Extent(0, 0, 5), Extent(0, 5, 5))}),
        replace(GOOD, contents={FILE.digest: (Extent(0, 0, 10), Extent(0, 0, 10))}),
    ],
)
def test_no_content_lies_where_it_cannot(changed: MountManifest) -> None:
    """Outside of its chunk or pack, or under a digest that is not its own."""
    with pytest.raises(MalformedState):
        read(changed)


def test_a_large_content_is_checked_by_its_chunks() -> None:
    """One content may be many chunks, in their order."""
    chunks = tuple(Chunk(identity(bytes([n])), 0, n, 1, 200_000) for n in range(3))
    whole = identity_of_large([chunk.digest for chunk in chunks])
    file = Entry(path=b"d/large", kind=Kind.FILE, mode=0o644, size=600_000, digest=whole)
    good = replace(
        GOOD,
        entries=(GOOD.entries[0], file),
        chunks=chunks,
        contents={whole: tuple(Extent(n, 0, 200_000) for n in range(3))},
    )
    assert read(good) == good
    mixed = tuple(Extent(n, 0, 200_000) for n in (1, 0, 2))
    with pytest.raises(MalformedState):
        read(replace(good, contents={whole: mixed}))


FRAME = deflated(encode(GOOD))


@pytest.mark.parametrize("data", [b"", b"no zstd", FRAME[:-5], FRAME + b"more", encode(GOOD)])
def test_damaged_bytes_are_refused(data: bytes) -> None:
    """Cut, or something else."""
    with pytest.raises(MalformedState):
        inflated(data, 1 << 20)


@given(st.binary(max_size=5000), st.binary(min_size=8, max_size=5000))
def test_a_difference_gives_what_it_was_made_of(plain: bytes, base: bytes) -> None:
    """Whatever the two have in common."""
    assert inflated(deflated(plain, base=base), 5000, base=base) == plain
    assert inflated(deflated(base + plain + base, base=base), 20_000, base=base)[-len(base) :] == (
        base
    )


def test_another_document_is_refused() -> None:
    """MessagePack that says something else."""
    with pytest.raises(MalformedState):
        decode(msgspec.msgpack.encode({"version": 1}), packs=[])
    with pytest.raises(MalformedState):
        decode(encode(GOOD)[:-5], packs=[digest_from(PACK.digest)])


def test_a_bomb_does_not_go_off() -> None:
    """No more is unpacked than was promised."""
    bomb = zstd_module().compress(bytes(100 << 20))
    with pytest.raises(MalformedState, match="size"):
        inflated(bomb, 1 << 20)
    with pytest.raises(MalformedState):
        inflated(zstd_module().compress(b"longer"), 3)


@given(st.lists(st.integers(1, 5000), min_size=1000, max_size=1000), st.integers(0, 1000))
def test_groups_are_as_large_as_they_should_be(sizes: list[int], seed: int) -> None:
    """On average; and a part as large as the mean always ends one."""
    digests = [identity(f"{seed} {place}".encode()) for place in range(len(sizes))]
    ends = sum(ends_after(d, size, 20_000) for d, size in zip(digests, sizes, strict=True))
    expected = sum(sizes) / 20_000
    assert abs(ends - expected) <= 6 * expected**0.5 + 6
    assert all(ends_after(digest, 20_000, 20_000) for digest in digests)
