"""The bytes of a cache document."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.content.compression import zstd_module
from lamina.oci.digest import digest_of
from lamina.remotecache.document import (
    MEDIA_TYPE,
    CachedLayer,
    CachedMemo,
    CacheDocument,
    CachedStep,
)
from lamina.remotecache.encoding import MEDIA_TYPE_ZSTD, decode, encode, media_type
from lamina.remotecache.errors import UnreadableCache


@given(st.lists(st.tuples(st.text(), st.binary(), st.binary()), max_size=40))
def test_what_is_encoded_is_read_back(memos: list[tuple[str, bytes, bytes]]) -> None:
    """Every document comes back as it was, small or large."""
    document = CacheDocument(memos=tuple(CachedMemo(*memo) for memo in memos))
    assert decode(encode(document), subject="cache") == document


def test_a_large_document_is_compressed() -> None:
    """What a machine that knows nothing has to read stays small, and says how it is stored."""
    small = CacheDocument()
    large = CacheDocument(memos=tuple(CachedMemo("kind", bytes([n]), b"x" * 99) for n in range(99)))
    assert media_type(encode(small)) == MEDIA_TYPE
    assert media_type(encode(large)) == MEDIA_TYPE_ZSTD
    assert len(encode(large)) < 2000


def test_another_version_is_named() -> None:
    """A cache of a newer Lamina is told by its name and version."""
    with pytest.raises(UnreadableCache, match=r"app:cache: the cache has version 7"):
        decode(b'{"version":7}', subject="app:cache")


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_truncated_document_is_damaged(cut: int) -> None:
    """Bytes that are missing are seen, compressed or not."""
    large = CacheDocument(memos=tuple(CachedMemo("kind", bytes([n]), b"x" * 99) for n in range(99)))
    for document in (large, CacheDocument()):
        with pytest.raises(UnreadableCache, match="app:cache"):
            decode(encode(document)[:-cut] or b"{", subject="app:cache")


def test_a_document_of_zeros_does_not_fill_the_memory() -> None:
    """What unpacks to very much is refused."""
    bomb = zstd_module().compress(bytes(80 << 20), level=3)
    with pytest.raises(UnreadableCache, match="larger than"):
        decode(bomb, subject="app:cache")


def test_a_step_with_a_layer_that_is_not_there_is_refused() -> None:
    """Places outside of the list of layers are damage, and no crash of a build."""
    step = CachedStep(
        key=digest_of(b"key"), locus="", name="", parts=(), layers=(1,), seconds=0, created=0
    )
    layer = CachedLayer(id=digest_of(b"a"), diff_id=digest_of(b"b"))
    with pytest.raises(UnreadableCache, match="a layer that is not there"):
        decode(encode(CacheDocument(layers=(layer,), steps=(step,))), subject="cache")


def test_a_digest_that_is_none_is_refused() -> None:
    """Digests become paths and addresses, so only digests are taken for digests."""
    data = b'{"version":1,"layers":[{"id":"sha256:../../etc/passwd","diff_id":"x"}]}'
    with pytest.raises(UnreadableCache, match="not a sha256 digest"):
        decode(data, subject="cache")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("created", 1e308),
        ("created", -1.0),
        ("used", 1e300),
        ("size", -1),
        ("size", 1 << 63),
        ("blob", 10**30),
        ("layers", [0] * 1001),
    ],
)
def test_a_number_that_nothing_has_is_refused(field: str, value: object) -> None:
    """A time that no calendar has or a size that no disk has is damage, and no crash later."""
    blob = {"mediaType": "x", "digest": digest_of(b"c"), "size": 1}
    layer: dict[str, object] = {"id": digest_of(b"a"), "diff_id": digest_of(b"b"), "blob": blob}
    step: dict[str, object] = {
        "key": digest_of(b"key"),
        "locus": "",
        "name": "",
        "parts": [],
        "layers": [0],
        "seconds": 1,
        "created": 1,
    }
    document = {"version": 1, "layers": [layer], "steps": [step]}
    assert decode(json.dumps(document).encode(), subject="cache").steps
    if field == "blob":
        blob["size"] = value
    else:
        (layer if field == "size" else step)[field] = value
    with pytest.raises(UnreadableCache, match="cache is damaged"):
        decode(json.dumps(document).encode(), subject="cache")
