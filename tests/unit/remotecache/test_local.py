"""A cache in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.content.errors import NotFound, WrongDigest
from lamina.content.store import BlobStore
from lamina.errors import HostError
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.remotecache.errors import UnreadableCache
from lamina.remotecache.local import LocalCache
from lamina.remotecache.port import StoredDocument

DATA = b"layer" * 1000
BLOB = Descriptor(media_type=mediatype.LAYER_GZIP, digest=digest_of(DATA), size=len(DATA))


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    made = BlobStore(tmp_path / "store")
    made.put(DATA)
    return made


def written(folder: Path, store: BlobStore, name: str = "latest") -> LocalCache:
    cache = LocalCache(str(folder))
    cache.push(BLOB, store)
    cache.write(StoredDocument(name=name, data=b'{"version":1}', blobs=(BLOB,)))
    return cache


def test_reading_makes_nothing(tmp_path: Path) -> None:
    """A folder that is not there has no cache, and is not made."""
    cache = LocalCache(str(tmp_path / "none"))
    assert cache.read("latest") is None
    assert list(cache.names("")) == []
    assert not (tmp_path / "none").exists()


def test_what_is_written_is_read(tmp_path: Path, store: BlobStore) -> None:
    """By its tag, or by its digest whatever the tags say by then."""
    cache = written(tmp_path / "cache", store)
    found = cache.read("latest")
    assert found is not None
    assert found.blobs == (BLOB,)
    digest = cache._index().manifests[0].digest
    cache.remove("latest")
    assert cache.read("latest") is None
    assert cache.read(digest) is not None


def test_a_blob_is_verified(tmp_path: Path, store: BlobStore) -> None:
    """Wrong bytes never get into the store."""
    cache = written(tmp_path / "cache", store)
    other = BlobStore(tmp_path / "other")
    path = tmp_path / "cache" / "blobs" / "sha256" / BLOB.digest.removeprefix("sha256:")
    path.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(WrongDigest, match=str(tmp_path)):
        cache.fetch(BLOB, other)
    path.unlink()
    with pytest.raises(NotFound, match=BLOB.digest):
        cache.fetch(BLOB, other)
    assert not other.has(BLOB.digest)


def test_reset_removes_what_nobody_refers_to(tmp_path: Path, store: BlobStore) -> None:
    """The blobs of documents that are there stay, whatever their tags are."""
    cache = written(tmp_path / "cache", store, "one")
    stale = Descriptor(media_type="x", digest=store.put(b"stale"), size=5)
    cache.push(stale, store)
    cache.write(StoredDocument(name="two", data=b'{"version":1}', blobs=()))
    cache.reset()
    assert not cache.has(stale)
    assert cache.has(BLOB)
    assert cache.read("one") is not None
    assert cache.read("two") is not None


@pytest.mark.parametrize("name", ["index.json", "blob"])
def test_damage_is_told_with_the_place(tmp_path: Path, store: BlobStore, name: str) -> None:
    """A damaged index or document is an error that names the folder."""
    cache = written(tmp_path / "cache", store)
    path = tmp_path / "cache" / "index.json"
    if name == "blob":
        digest = cache._index().manifests[0].digest
        path = tmp_path / "cache" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    path.write_bytes(b"{ damaged")
    with pytest.raises(UnreadableCache, match=str(tmp_path)):
        cache.read("latest")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file where the folder should be is a HostError with its path."""
    (tmp_path / "file").write_text("")
    cache = LocalCache(str(tmp_path / "file"))
    with pytest.raises(HostError, match="file"):
        cache.write(StoredDocument(name="latest", data=b"{}"))
