"""The cache service of GitHub Actions, against a real server of its protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.content.errors import NotFound, WrongDigest
from lamina.content.store import BlobStore
from lamina.errors import RemoteError, UsageError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.remotecache.document import CachedLayer, CacheDocument, CachedStep
from lamina.remotecache.encoding import decode, encode
from lamina.remotecache.gha import GhaCache
from lamina.remotecache.gha_attributes import branches_of, parse
from lamina.remotecache.gha_protocol import PIECE
from lamina.remotecache.port import CacheCleaner, CacheWriter, StoredDocument
from tests.support.gha import GITHUB_TOKEN, REPOSITORY, GhaServer, running_gha, token_for

MAIN, BRANCH = "refs/heads/main", "refs/pull/7/merge"


@pytest.fixture
def server() -> Iterator[GhaServer]:
    with running_gha() as running:
        yield running


def cache_of(server: GhaServer, *branches: str, version: int = 2, **attributes: str) -> GhaCache:
    environ = server.environment(*branches, version=version)
    return parse(attributes, environ=environ, sleep=lambda _: None)


def with_rest(server: GhaServer, *branches: str) -> GhaCache:
    attributes = {"repository": REPOSITORY, "ghtoken": GITHUB_TOKEN}
    environ = server.rest_environment(*branches)
    return parse(attributes, environ=environ, sleep=lambda _: None)


def kept(store: BlobStore, data: bytes) -> Descriptor:
    return Descriptor(media_type="application/x", digest=store.put(data), size=len(data))


def document(*names: str, signature: str = "") -> CacheDocument:
    steps = tuple(
        CachedStep(
            key=digest_of(name.encode()),
            locus="l",
            name=name,
            parts=(),
            layers=(0,),
            seconds=1,
            created=1,
            signature=signature,
        )
        for name in names
    )
    layer = CachedLayer(id=digest_of(b"id"), diff_id=digest_of(b"diff"))
    return CacheDocument(layers=(layer,), steps=steps)


def stored(name: str, said: CacheDocument) -> StoredDocument:
    return StoredDocument(name=name, data=encode(said))


def names_in(cache: GhaCache) -> set[str]:
    found = cache.read("index")
    return set() if found is None else {s.name for s in decode(found.data, subject="x").steps}


def test_it_is_what_a_backend_is(server: GhaServer) -> None:
    """The type checker and the layouts see a writer and a cleaner."""
    writer: CacheWriter = cache_of(server)
    cleaner: CacheCleaner = with_rest(server)
    assert writer.address == cleaner.address == "gha:buildkit"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [1, PIECE, 2 * PIECE + 17])
def test_blobs_come_back_as_they_were(
    server: GhaServer, tmp_path: Path, version: int, size: int
) -> None:
    """In one request or in several, by either version of the protocol."""
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    blob = kept(here, os.urandom(size))
    cache = cache_of(server, version=version)
    told: list[int] = []
    assert not cache.has(blob)
    cache.push(blob, here, progress=told.append)
    assert sum(told) == size
    assert cache.has(blob)
    cache_of(server, version=version).fetch(blob, there)
    assert there.read(blob.digest, limit=size) == here.read(blob.digest, limit=size)


@pytest.mark.parametrize("version", [1, 2])
def test_the_newest_state_of_a_document_is_read(server: GhaServer, version: int) -> None:
    """Entries never change: a new state is a new entry, and the old one is not read any more."""
    cache = cache_of(server, version=version)
    assert cache.read("index") is None
    cache.write(stored("index", document("a")))
    cache.write(stored("index", document("b")))
    assert names_in(cache) == {"b"}
    assert [key.rpartition("#")[2] for key in server.ready()] == ["1", "2"]


def test_ten_jobs_may_write_at_once(server: GhaServer) -> None:
    """A number that another job reserved is left to it."""
    cache = cache_of(server)
    cache.write(stored("index", document("first")))
    for number in range(2, 7):
        key = server.ready()[0].replace("#1", f"#{number}")
        server.reserve(key, server.entries[0].version, MAIN)
    cache.write(stored("index", document("mine")))
    assert names_in(cache) == {"mine"}


def test_a_branch_sees_its_base_and_not_its_neighbours(server: GhaServer) -> None:
    """What main knows hits on a pull request's first build; the request's records stay its own."""
    cache_of(server, MAIN).write(stored("index", document("main")))
    branch = cache_of(server, BRANCH, MAIN)
    assert names_in(branch) == {"main"}
    branch.write(stored("index", document("branch")))
    cache_of(server, MAIN).write(stored("index", document("main", "newer")))
    assert names_in(branch) == {"branch", "main", "newer"}
    assert names_in(cache_of(server, MAIN)) == {"main", "newer"}
    assert names_in(cache_of(server, "refs/pull/8/merge", MAIN)) == {"main", "newer"}


def test_signed_documents_are_not_merged(server: GhaServer) -> None:
    cache_of(server, MAIN).write(stored("index", document("main", signature="x")))
    branch = cache_of(server, BRANCH, MAIN)
    branch.write(stored("index", document("branch", signature="x")))
    assert names_in(branch) == {"branch"}


def test_scopes_keep_caches_apart(server: GhaServer) -> None:
    cache_of(server, scope="one").write(stored("index", document("a")))
    assert cache_of(server, scope="two").read("index") is None
    assert cache_of(server, scope="one").read("index") is not None


def test_a_name_is_not_taken_for_one_that_begins_with_it(server: GhaServer) -> None:
    cache_of(server).write(stored("index-of-another", document("a")))
    assert cache_of(server).read("index") is None


def test_throttling_costs_time_and_nothing_else(server: GhaServer, tmp_path: Path) -> None:
    """429 with Retry-After: we wait as long as the service says."""
    waited: list[float] = []
    store = BlobStore(tmp_path / "blobs")
    blob = kept(store, b"content")
    cache = parse({}, environ=server.environment(), sleep=waited.append)
    server.throttle, server.retry_after = 3, "7"
    cache.push(blob, store)
    assert waited == [7.0, 7.0, 7.0]
    assert cache.has(blob)


def test_patience_ends(server: GhaServer) -> None:
    """`timeout` is what all requests together may wait."""
    waited: list[float] = []
    cache = parse({"timeout": "10s"}, environ=server.environment(), sleep=waited.append)
    server.throttle, server.retry_after = 99, "6"
    with pytest.raises(RemoteError, match=r"gha:buildkit: GetCacheEntryDownloadURL: .* 429"):
        cache.read("index")
    assert waited == [6.0]


def test_an_address_that_expired_is_asked_for_again(server: GhaServer, tmp_path: Path) -> None:
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    blob = kept(here, b"content")
    cache = cache_of(server)
    cache.push(blob, here)
    assert cache.has(blob)
    server.expired = 1
    cache.fetch(blob, there)
    assert there.has(blob.digest)


def test_the_token_goes_to_the_service_alone(server: GhaServer, tmp_path: Path) -> None:
    """Signed addresses are another host's, and are asked without it."""
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    blob = kept(here, os.urandom(PIECE + 1))
    cache_of(server).push(blob, here)
    cache_of(server).fetch(blob, there)
    assert server.authorized_storage == 0


def test_a_key_that_a_killed_job_reserved_is_no_end(server: GhaServer, tmp_path: Path) -> None:
    """The blob gets a key beside it, and is found there."""
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    blob, other = kept(here, b"content"), kept(here, b"other")
    cache_of(server).push(other, here)
    version = server.entries[0].version
    server.reserve(f"lamina-blob-1-{blob.digest}", version, MAIN)
    assert not cache_of(server).has(blob)
    cache_of(server).push(blob, here)
    cache_of(server).fetch(blob, there)
    assert there.has(blob.digest)


def test_what_another_job_saved_meanwhile_is_enough(server: GhaServer, tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    blob = kept(store, b"content")
    cache_of(server).push(blob, store)
    cache_of(server).push(blob, store)
    assert len(server.ready()) == 1


def test_a_missing_blob_and_a_wrong_one(server: GhaServer, tmp_path: Path) -> None:
    here, there = BlobStore(tmp_path / "here"), BlobStore(tmp_path / "there")
    nowhere = Descriptor(media_type="x", digest=Digest("sha256:" + "0" * 64), size=3)
    with pytest.raises(NotFound, match=r"gha:buildkit"):
        cache_of(server).fetch(nowhere, there)
    blob = kept(here, b"content")
    cache_of(server).push(blob, here)
    server.entries[0].data = b"CONTENT"
    with pytest.raises(WrongDigest, match=r"gha:buildkit"):
        cache_of(server).fetch(blob, there)
    assert not there.has(blob.digest)


def test_a_damaged_blob_of_ours_is_not_saved(server: GhaServer, tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    for size in (100, PIECE, PIECE + 1):
        blob = kept(store, os.urandom(size))
        store.path(blob.digest).write_bytes(bytes(size))
        with pytest.raises(WrongDigest):
            cache_of(server).push(blob, store)
    assert server.ready() == []


def test_a_token_that_is_refused(server: GhaServer) -> None:
    """Names the place and what to do, and not the token."""
    environ = {**server.environment(), "ACTIONS_RUNTIME_TOKEN": "not-a-token"}
    with pytest.raises(RemoteError, match=r"gha:buildkit: .* status 401") as caught:
        parse({}, environ=environ).read("index")
    assert "not-a-token" not in str(caught.value)
    assert "token" in (caught.value.hint or "")


def test_the_rest_api_lists_and_removes(server: GhaServer, tmp_path: Path) -> None:
    """Documents of all branches; old states do not pile up."""
    store = BlobStore(tmp_path / "blobs")
    blob = kept(store, b"content")
    cache = with_rest(server, MAIN)
    cache.push(blob, store)
    cache.write(stored("index", document("a")))
    cache.write(stored("index", document("b")))
    cache.write(stored("other", document("c")))
    branch = with_rest(server, BRANCH, MAIN)
    branch.write(stored("index", document("d")))
    assert len(server.ready()) == 4
    assert {entry.name for entry in cache.names("")} == {"index", "other"}
    main = branches_of(token_for(MAIN))[0]
    assert {e.name for e in branch.names("")} == {"index", f"index@{main}", f"other@{main}"}
    assert cache.has(blob)
    cache.remove_blob(blob.digest)
    cache.remove("other")
    assert {entry.name for entry in cache.names("")} == {"index"}
    assert not with_rest(server, MAIN).has(blob)


def test_without_the_rest_api_nothing_is_removed(server: GhaServer) -> None:
    with pytest.raises(RemoteError, match="lets nobody list and remove") as caught:
        cache_of(server).remove("index")
    assert "ghtoken" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("attributes", "environ", "words"),
    [
        ({}, {}, "the address of the cache service is missing"),
        ({"url": "http://localhost"}, {}, "the token is missing"),
        ({"url": "ftp://x", "token": "t"}, {}, "not an address"),
        ({"url_v2": "http://x", "token": "t", "version": "3"}, {}, "version"),
        ({"url_v2": "http://x", "token": "t", "timeout": "soon"}, {}, "timeout"),
        ({"url_v2": "http://x", "token": "t", "ghtoken": "g"}, {}, "repository"),
    ],
)
def test_wrong_attributes_are_said_before_anything_happens(
    attributes: dict[str, str], environ: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        parse(attributes, environ=environ)


def test_a_token_of_another_kind_is_good_for_one_nameless_branch() -> None:
    """Self-hosted services have tokens of their own."""
    assert len(branches_of("opaque")) == 1
    assert branches_of(token_for(BRANCH, MAIN))[1] == branches_of(token_for(MAIN))[0]
