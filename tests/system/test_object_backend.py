"""Caches in object stores, against a real S3-compatible server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.content.errors import NotFound, WrongDigest
from lamina.content.store import BlobStore
from lamina.errors import RemoteError, UsageError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.remotecache import azblob, gs, s3
from lamina.remotecache.objects import PART, ObjectCache
from lamina.remotecache.port import CacheCleaner, CacheWriter, StoredDocument
from tests.support.s3 import BUCKET, SECRET, S3Server, faulty_proxy, running_s3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


def cache_in(server: S3Server, **more: str) -> ObjectCache:
    place = s3.parse(server.attributes(**more), environ={}).place
    return ObjectCache(place, sleep=lambda _: None)


def kept(store: BlobStore, data: bytes) -> Descriptor:
    return Descriptor(media_type="application/x", digest=store.put(data), size=len(data))


def test_it_is_what_a_backend_is(server: S3Server) -> None:
    """The type checker and the layouts see a writer and a cleaner."""
    writer: CacheWriter = cache_in(server)
    cleaner: CacheCleaner = cache_in(server)
    assert writer.address == cleaner.address == f"s3://{BUCKET}/manifests/buildkit"


def test_documents_are_written_listed_read_and_removed(server: S3Server) -> None:
    """A name gives back what was written under it last; others are not seen."""
    cache = cache_in(server, prefix="docs/")
    assert cache.read("main") is None
    cache.write(StoredDocument(name="main", data=b"one"))
    cache.write(StoredDocument(name="main", data=b"two"))
    cache.write(StoredDocument(name="main-r-x-01", data=b"three"))
    cache.write(StoredDocument(name="other", data=b"four"))
    assert cache.read("main") == StoredDocument(name="main", data=b"two")
    assert {entry.name for entry in cache.names("main")} == {"main", "main-r-x-01"}
    assert all((entry.changed or 0) > 1e9 for entry in cache.names(""))
    cache.remove("main")
    cache.remove("main")
    assert {entry.name for entry in cache.names("")} == {"main-r-x-01", "other"}


def test_the_layout_is_docker_s(server: S3Server) -> None:
    """`<prefix>manifests/NAME` and `<prefix>blobs/sha256:…`, or as the attributes say."""
    place = cache_in(server, prefix="p/").place.layout
    assert (place.documents, place.blobs) == ("p/manifests/", "p/blobs/")
    place = cache_in(server, prefix="p-", blobs_prefix="b-", manifests_prefix="m-").place.layout
    assert (place.documents, place.blobs) == ("p-m-", "p-b-")


def test_prefixes_need_not_be_folders(server: S3Server, tmp_path: Path) -> None:
    """A listing finds what begins with a prefix that ends in the middle of a name."""
    store = BlobStore(tmp_path / "blobs")
    cache = cache_in(server, prefix="odd-", blobs_prefix="b-", manifests_prefix="m-")
    blob = kept(store, b"content")
    cache.push(blob, store)
    cache.write(StoredDocument(name="x", data=b"x"))
    assert [entry.name for entry in cache.names("")] == ["x"]
    assert list(cache.blobs()) == [(blob.digest, blob.size)]


@pytest.mark.parametrize("size", [0, 1, PART, 2 * PART + 17])
def test_blobs_come_back_as_they_were(server: S3Server, tmp_path: Path, size: int) -> None:
    """Empty, in one request, or in parts."""
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    blob = kept(here, os.urandom(size))
    told: list[int] = []
    cache = cache_in(server)
    assert not cache.has(blob)
    cache.push(blob, here, progress=told.append)
    assert sum(told) == size
    assert cache.has(blob)
    told.clear()
    cache.fetch(blob, there, progress=told.append)
    assert sum(told) == size
    assert there.read(blob.digest, limit=size) == here.read(blob.digest, limit=size)
    assert (blob.digest, size) in cache.blobs()
    cache.remove_blob(blob.digest)
    assert not cache.has(blob)


def test_a_blob_of_another_size_is_sent_again(server: S3Server, tmp_path: Path) -> None:
    """What an upload left half is not taken for the blob."""
    import obstore

    store = BlobStore(tmp_path / "blobs")
    blob, cache = kept(store, b"whole"), cache_in(server)
    obstore.put(cache.place.open(), f"blobs/{blob.digest}", b"who")
    assert not cache.has(blob)
    cache.push(blob, store)
    assert cache.has(blob)


def test_a_missing_blob_is_not_found(server: S3Server, tmp_path: Path) -> None:
    blob = Descriptor(media_type="x", digest=Digest("sha256:" + "0" * 64), size=3)
    with pytest.raises(NotFound, match=f"s3://{BUCKET}/manifests/buildkit: {blob.digest}"):
        cache_in(server).fetch(blob, BlobStore(tmp_path / "blobs"))


def test_a_damaged_blob_of_ours_is_not_sent(server: S3Server, tmp_path: Path) -> None:
    """Nobody gets under a digest what has another one, whole or in parts."""
    store = BlobStore(tmp_path / "blobs")
    for size in (100, 2 * PART):
        blob = kept(store, os.urandom(size))
        store.path(blob.digest).write_bytes(bytes(size))
        with pytest.raises(WrongDigest):
            cache_in(server).push(blob, store)
        assert not cache_in(server).has(blob)


def test_what_is_throttled_arrives_late(server: S3Server, tmp_path: Path) -> None:
    """503 SlowDown, as S3 answers under load, costs time and nothing else."""
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    blob = kept(here, os.urandom(2 * PART + 1))
    with faulty_proxy(server) as (proxy, slow):
        cache = cache_in(slow, prefix="slow/")
        proxy.fail("slow-down", times=2, when=lambda r: r.startswith("PUT"))
        proxy.fail("slow-down", times=2, when=lambda r: r.startswith("GET"))
        proxy.fail("slow-down", times=2, when=lambda r: r.startswith("HEAD"))
        cache.push(blob, here)
        assert cache.has(blob)
        cache.fetch(blob, there)
    assert there.has(blob.digest, blob.size)


def test_a_download_that_is_cut_goes_on(server: S3Server, tmp_path: Path) -> None:
    """Five cuts in the middle: the right bytes arrive."""
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    blob = kept(here, os.urandom(PART))
    with faulty_proxy(server) as (proxy, cutting):
        cache = cache_in(cutting, prefix="cut/")
        cache.push(blob, here)
        proxy.fail("cut", times=5, when=lambda r: r.startswith("GET"))
        cache.fetch(blob, there)
    assert there.read(blob.digest) == here.read(blob.digest)


def test_wrong_bytes_are_refused(server: S3Server, tmp_path: Path) -> None:
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    blob = kept(here, b"right bytes")
    with faulty_proxy(server) as (proxy, lying):
        cache = cache_in(lying, prefix="lie/")
        cache.push(blob, here)
        proxy.fail("wrong-bytes", times=9, when=lambda r: r.startswith("GET"))
        with pytest.raises(WrongDigest, match="s3://builds/lie/manifests/buildkit"):
            cache.fetch(blob, there)
    assert not there.has(blob.digest)


def test_a_refusal_names_place_and_cause_and_no_secret(server: S3Server) -> None:
    with faulty_proxy(server) as (proxy, strict):
        proxy.fail("denied", times=9, when=lambda _: True)
        with pytest.raises(RemoteError) as caught:
            cache_in(strict, prefix="p/").read("main")
    error = caught.value
    assert f"s3://{BUCKET}/p/" in error.message
    assert "InvalidAccessKeyId" in error.message
    assert "credentials" in (error.hint or "")
    assert SECRET not in error.message
    assert not error.retryable


def test_a_bucket_that_is_not_there_is_said(server: S3Server) -> None:
    """Not the same as a cache that is still empty."""
    with pytest.raises(RemoteError, match="NoSuchBucket"):
        cache_in(server, bucket="nobodys").read("main")


def test_nobody_at_the_address() -> None:
    attributes = {"bucket": "b", "endpoint_url": "http://127.0.0.1:1", "retry_max_attempts": "1"}
    keys = {"access_key_id": "k", "secret_access_key": SECRET}
    with pytest.raises(
        RemoteError, match="s3://b/manifests/buildkit: reading 'main' failed: connection refused"
    ):
        s3.parse({**attributes, **keys}, environ={}).read("main")


def test_old_blobs_are_made_new_when_they_are_of_use(server: S3Server, tmp_path: Path) -> None:
    """`touch_refresh`: rules of a bucket that remove what is old do not remove what is needed."""
    store = BlobStore(tmp_path / "blobs")
    blob = kept(store, b"needed for ever")
    with faulty_proxy(server) as (proxy, seen):
        cache = cache_in(seen, prefix="touch/", touch_refresh="0s")
        cache.push(blob, store)
        before = len(proxy.requests)
        assert cache.has(blob)
        copies = [r for r in proxy.requests[before:] if r.startswith("PUT")]
        lazy = cache_in(seen, prefix="touch/")
        before = len(proxy.requests)
        assert lazy.has(blob)
        assert [r.split()[0] for r in proxy.requests[before:]] == ["HEAD"]
    assert len(copies) == 2
    assert list(cache.blobs()) == [(blob.digest, blob.size)]


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "the bucket is missing"),
        ({"bucket": "b"}, "the region is missing"),
        ({"bucket": "b", "region": "r", "upload_parallelism": "0"}, "upload_parallelism"),
        ({"bucket": "b", "region": "r", "retry_mode": "rude"}, "retry_mode"),
        ({"bucket": "b", "region": "r", "use_path_style": "perhaps"}, "use_path_style"),
        ({"bucket": "b", "region": "r", "touch_refresh": "soon"}, "touch_refresh"),
        ({"bucket": "b", "region": "r", "endpoint_url": "minio:9000"}, "endpoint_url"),
        ({"bucket": "b", "region": "r", "access_key_id": "k"}, "secret_access_key is missing"),
    ],
)
def test_wrong_attributes_are_said_before_anything_happens(
    attributes: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        s3.parse(attributes, environ={})


def test_the_environment_says_what_the_attributes_do_not(tmp_path: Path) -> None:
    """Docker's variables, and a profile in the shared credentials file."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id=A\naws_secret_access_key=B\n"
        "[ci]\naws_access_key_id=K\naws_secret_access_key=S\naws_session_token=T\n"
    )
    environ = {"AWS_BUCKET": "b", "AWS_REGION": "eu-west-1", "HOME": str(tmp_path)}
    assert s3.parse({}, environ=environ).address == "s3://b/manifests/buildkit"
    assert s3.parse({}, environ=environ).place.secrets == ("B", "")
    profile = {**environ, "AWS_PROFILE": "ci"}
    assert s3.parse({}, environ=profile).place.secrets == ("S", "T")
    given = {"access_key_id": "x", "secret_access_key": "y"}
    assert s3.parse(given, environ=profile).place.secrets == ("y", "")


@pytest.mark.parametrize(
    ("attributes", "endpoint"),
    [
        ({"endpoint_url": "https://s3.example"}, "https://b.s3.example"),
        ({"endpoint_url": "https://s3.example", "use_path_style": "true"}, "https://s3.example"),
        ({"endpoint_url": "http://10.0.0.1:9000"}, "http://10.0.0.1:9000"),
        ({"endpoint_url": "http://localhost:9000/"}, "http://localhost:9000"),
    ],
)
def test_a_bucket_is_in_the_host_s_name_where_it_can_be(
    attributes: dict[str, str], endpoint: str
) -> None:
    from obstore.store import S3Store

    store = s3.parse({"bucket": "b", **attributes}, environ={}).place.open()
    assert isinstance(store, S3Store)
    assert store.config.get("endpoint") == endpoint


def test_several_names_and_the_default_one() -> None:
    base = {"bucket": "b", "region": "r"}
    assert s3.parse(base, environ={}).place.documents == ("buildkit",)
    assert s3.parse({**base, "name": "a;b"}, environ={}).place.documents == ("a", "b")


def test_azure_s_attributes() -> None:
    """Docker's names, defaults and variables; the container is in the address."""
    with pytest.raises(UsageError, match="account_url"):
        azblob.parse({}, environ={})
    environ = {"BUILDKIT_AZURE_STORAGE_ACCOUNT_URL": "https://acme.blob.core.windows.net"}
    cache = azblob.parse({"secret_access_key": "c2VjcmV0", "prefix": "p"}, environ=environ)
    assert cache.address == "https://acme.blob.core.windows.net/buildkit-cache/p/manifests/buildkit"
    assert cache.place.layout.documents == "p/manifests/"
    assert cache.place.layout.blobs == "p/blobs/"
    cache.place.open()


def test_google_s_interface_is_much_like_amazon_s(server: S3Server, tmp_path: Path) -> None:
    """obstore speaks its XML API, of which Amazon's server knows what a cache needs."""
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    attributes = {"bucket": BUCKET, "prefix": "gs/", "endpoint_url": server.url}
    cache = gs.parse(attributes, environ={})
    cache.write(StoredDocument(name="main", data=b"said"))
    assert cache.read("main") == StoredDocument(name="main", data=b"said")
    assert [entry.name for entry in cache.names("")] == ["main"]
    for size in (3, 2 * PART):
        blob = kept(here, os.urandom(size))
        cache.push(blob, here)
        assert cache.has(blob)
        cache.fetch(blob, there)
        assert there.has(blob.digest, size)
        cache.remove_blob(blob.digest)
    cache.remove("main")
    assert not cache.names("")
    assert not cache.blobs()


def test_no_credentials_are_said_to_be_missing() -> None:
    """Not the answer of a machine's role service that is not there."""
    from lamina.remotecache.object_errors import store_failure

    error = OSError("Error performing PUT http://169.254.169.254/latest/api/token in 2.9ms")
    found = store_failure(error, doing="reading", address="s3://b/x", secrets=())
    assert found.message == "s3://b/x: reading failed: there are no credentials"
    assert "environment" in (found.hint or "")


def test_google_s_attributes() -> None:
    with pytest.raises(UsageError, match="bucket"):
        gs.parse({}, environ={})
    cache = gs.parse({"bucket": "b", "endpoint_url": "http://127.0.0.1:1"}, environ={})
    assert cache.address == "gs://b/manifests/buildkit"
    cache.place.open()


def test_sending_takes_little_memory(server: S3Server, tmp_path: Path) -> None:
    """A blob of 96 MiB, sent and fetched by a process that stays small."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from lamina.content.store import BlobStore\n"
        "from lamina.oci.descriptor import Descriptor\n"
        "from lamina.remotecache import s3\n"
        "here, there = BlobStore(sys.argv[1]), BlobStore(sys.argv[2])\n"
        "blob = Descriptor(media_type='x', digest=sys.argv[4], size=int(sys.argv[5]))\n"
        "pairs = dict(pair.split('=', 1) for pair in sys.argv[3].split(',')[1:])\n"
        "cache = s3.parse(pairs, environ={})\n"
        "cache.push(blob, here)\n"
        "cache.fetch(blob, there)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    size = 96 << 20
    data = os.urandom(1 << 20) * (size >> 20)
    store = BlobStore(tmp_path / "here")
    digest = store.put(data)
    assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
    folders = [str(tmp_path / "here"), str(tmp_path / "there")]
    words = [*folders, server.flag(), digest, str(size)]
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100 << 10  # KiB
