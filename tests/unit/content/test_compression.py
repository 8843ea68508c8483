"""Compression and decompression of layers."""

from __future__ import annotations

import gzip
import io
import random
import resource
import threading
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.content.compression import Compression, compression_of, compressor
from lamina.content.decompression import decompressing_reader, sniff
from lamina.content.errors import MalformedImage
from lamina.oci import mediatype

KINDS = list(Compression)
LEVELS = [(Compression.GZIP, level) for level in (0, 1, 2, 3, 4, 6, 9)]
LEVELS += [(Compression.ZSTD, level) for level in (1, 3, 12)]
LEVELS += [(Compression.UNCOMPRESSED, 0)]


def sample(size: int) -> bytes:
    """Half words, half noise; always the same."""
    chance = random.Random(7)
    pieces = [b"layer ", b"diff id ", b"\0" * 64, chance.randbytes(40)]
    return b"".join(chance.choices(pieces, k=size // 20))[:size]


def pack(
    data: bytes,
    kind: Compression,
    *,
    level: int | None = None,
    threads: int = 2,
    step: int = 1 << 16,
) -> bytes:
    out = io.BytesIO()
    with compressor(kind, out, level=level, threads=threads) as packing:
        for at in range(0, len(data), step):
            packing.write(data[at : at + step])
    return out.getvalue()


def unpack(data: bytes, kind: Compression | None = None, *, step: int = 1 << 16) -> bytes:
    with decompressing_reader(io.BytesIO(data), kind) as reader:
        return b"".join(iter(lambda: reader.read(step), b""))


@pytest.mark.parametrize(("kind", "level"), LEVELS)
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (5 << 19) + 3])
def test_what_was_packed_comes_back(kind: Compression, level: int, size: int) -> None:
    """Around the edges of blocks, too."""
    data = sample(size)
    packed = pack(data, kind, level=level)
    assert unpack(packed, kind) == data
    assert unpack(packed, step=1000) == data


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_writes_do_not_show(kind: Compression) -> None:
    """The same bytes in give the same bytes out, however they are cut and by however many hands."""
    data = sample(7 << 19)
    packed = pack(data, kind)
    assert pack(data, kind, threads=1) == packed
    assert pack(data, kind, threads=4, step=1000) == packed
    assert pack(data, kind, threads=3, step=3 << 20) == packed


@settings(max_examples=30)
@given(st.binary(max_size=3000), st.integers(1, 500), st.sampled_from(KINDS))
def test_any_bytes_come_back(data: bytes, step: int, kind: Compression) -> None:
    """Whatever the content and the sizes of reads and writes."""
    assert unpack(pack(data, kind, step=step), kind, step=step) == data


def test_gzip_is_one_plain_member() -> None:
    """Other tools read it; it has no time, no name, and nothing after its end."""
    data = sample(3 << 20)
    packed = pack(data, Compression.GZIP)
    assert packed[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    single = zlib.decompressobj(wbits=31)
    assert single.decompress(packed) + single.flush() == data
    assert single.eof
    assert single.unused_data == b""


def test_gzip_keeps_its_ratio_across_blocks() -> None:
    """A block knows what was before it: compressing by blocks costs next to nothing."""
    data = sample(4 << 20)
    assert len(pack(data, Compression.GZIP, level=6)) < 1.01 * len(zlib.compress(data, 6))


def test_several_members_are_one_stream() -> None:
    """gzip members and zstd frames may follow one another."""
    assert unpack(gzip.compress(b"one ") + gzip.compress(b"two")) == b"one two"
    frames = pack(b"one ", Compression.ZSTD) + pack(b"two", Compression.ZSTD)
    assert unpack(frames) == b"one two"
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert unpack(skippable + frames) == b"one two"


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD])
def test_damage_is_seen(kind: Compression) -> None:
    """Cut and altered streams are malformed, never silently short."""
    packed = pack(sample(100_000), kind)
    for broken in (
        packed[:-1],
        packed[: len(packed) // 2],
        packed[:3],
        packed[: len(packed) // 2] + b"\xff" * 40 + packed[len(packed) // 2 + 40 :],
    ):
        with pytest.raises(MalformedImage):
            unpack(broken, kind)


def test_the_input_may_be_used_again() -> None:
    """A caller may refill its buffer as soon as `write` is back."""
    out = io.BytesIO()
    buffer = bytearray(1 << 20)
    with compressor(Compression.GZIP, out, threads=2) as packing:
        for value in range(4):
            buffer[:] = bytes([value]) * len(buffer)
            packing.write(memoryview(buffer))
    expected = b"".join(bytes([value]) * (1 << 20) for value in range(4))
    assert unpack(out.getvalue()) == expected


def test_a_failing_output_is_not_hidden() -> None:
    """What the output raises comes out, and no thread stays behind."""

    class Full:
        def write(self, data: bytes) -> int:
            if len(data) > 10:
                raise OSError(28, "No space left on device")
            return len(data)

    def fill() -> None:
        with compressor(Compression.GZIP, Full()) as packing:
            for _ in range(10):
                packing.write(sample(1 << 20))

    with pytest.raises(OSError, match="No space"):
        fill()
    assert not [each for each in threading.enumerate() if each.name.startswith("gzip")]


@pytest.mark.parametrize("kind", KINDS)
def test_media_types_are_read_back(kind: Compression) -> None:
    """The OCI's and Docker's names for a layer tell its compression."""
    assert compression_of(kind.media_type()) is kind
    assert compression_of(kind.media_type(docker=True)) is kind


@pytest.mark.parametrize("media_type", sorted(mediatype.FOREIGN_LAYERS))
def test_foreign_layers_are_refused_by_name(media_type: str) -> None:
    """They are not in the registry, and the message says so."""
    with pytest.raises(MalformedImage, match="foreign layer"):
        compression_of(media_type)


def test_other_types_are_no_layers() -> None:
    """A chart or a signature is not taken for a layer."""
    with pytest.raises(MalformedImage, match="not the media type of a layer"):
        compression_of("application/vnd.cncf.helm.chart.content.v1.tar+gzip")


def test_heads_are_told_apart() -> None:
    """By the first four bytes; what is too short is not compressed."""
    assert sniff(b"\x1f\x8b\x08\0") is Compression.GZIP
    assert sniff(b"\x28\xb5\x2f\xfd") is Compression.ZSTD
    assert sniff(b"BZh9") is None
    assert sniff(b"") is None
    assert sniff(b"(") is None


def test_memory_is_used_again() -> None:
    """The kernel is not asked for every block anew: that takes longer than compressing it."""
    data = sample(1 << 20)

    def faults(blocks: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        with compressor(Compression.GZIP, io.BytesIO()) as packing:
            for _ in range(blocks):
                packing.write(data)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults(16)
    assert faults(64) < 64 * (1 << 20) // resource.getpagesize() // 2
