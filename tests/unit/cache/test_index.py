"""The index keeps what it was given, for everybody who opens the same file."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lamina.cache.index import Index
from lamina.cache.steps import StepCache
from lamina.cachekey.difference import Change
from lamina.cachekey.key import CacheKey, ListedFile, Listing, Part
from lamina.content.blob import KnownBlob
from lamina.errors import HostError
from lamina.layer.stack import Layer
from lamina.oci.digest import digest_of
from lamina.trace.verdict import Hit, KeyChanged, NeverBuilt, ResultGone

ONE, TWO = (Layer(id=digest_of(name)) for name in (b"one", b"two"))


def key(**parts: str) -> CacheKey:
    return CacheKey(tuple(Part(name, value) for name, value in parts.items()))


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(str(tmp_path / "index.db"))


def remember(cache: StepCache, wanted: CacheKey, *stack: Layer, locus: str = "here") -> bool:
    return cache.add(wanted, locus=locus, name="RUN make", stack=stack, seconds=1.5)


def test_a_step_is_found_by_its_key_alone(index: Index) -> None:
    """Whatever the step's place is: the same inputs give the same result."""
    cache = StepCache(index, exists=lambda stack: True)
    remember(cache, key(a="1"), ONE)
    assert cache.find(key(a="1")) == ((ONE,), Hit(record=key(a="1").digest))


def test_another_process_sees_what_was_stored(index: Index, tmp_path: Path) -> None:
    """A second connection to the same file finds the record."""
    remember(StepCache(index, exists=lambda stack: True), key(a="1"), ONE)
    other = StepCache(Index(str(tmp_path / "index.db")), exists=lambda stack: True)
    assert other.find(key(a="1")) == ((ONE,), Hit(record=key(a="1").digest))


def test_a_step_that_never_ran_says_so(index: Index) -> None:
    """There is nothing to compare with."""
    cache = StepCache(index, exists=lambda stack: True)
    assert cache.find(key(a="1")) is None
    assert cache.why(key(a="1"), "here") == NeverBuilt()


def test_a_miss_names_the_parts_that_changed(index: Index) -> None:
    """The latest record of the same step is what it is compared with."""
    cache = StepCache(index, exists=lambda stack: True)
    remember(cache, key(a="1", b="x"), ONE)
    assert cache.find(key(a="2", b="x")) is None
    verdict = cache.why(key(a="2", b="x"), "here")
    assert isinstance(verdict, KeyChanged)
    assert verdict.changes == (Change(part="a", before="1", after="2"),)


def test_a_miss_names_the_files_that_changed(index: Index) -> None:
    """A listing's digest is not what a user wants to read."""

    def with_file(content: bytes) -> CacheKey:
        files = (ListedFile(path=b"app.py", mode=0o644, uid=0, gid=0, content=content),)
        digest = digest_of(content)
        return CacheKey((Part("files", digest),), (Listing("files", digest, lambda: files),))

    cache = StepCache(index, exists=lambda stack: True)
    cache.add(with_file(b"old"), locus="here", name="COPY", stack=(ONE,), seconds=0)
    verdict = cache.why(with_file(b"new"), "here")
    assert isinstance(verdict, KeyChanged)
    assert [change.part for change in verdict.changes] == ["file:app.py"]


def test_a_result_whose_layers_are_gone_is_still_known(index: Index) -> None:
    """That it has to be made again, and why, is a second question."""
    remember(StepCache(index, exists=lambda stack: True), key(a="1"), ONE)
    cache = StepCache(index, exists=lambda stack: stack != (ONE,))
    assert cache.find(key(a="1")) == ((ONE,), Hit(record=key(a="1").digest))
    assert not cache.available((ONE,))
    assert cache.why(key(a="1"), "here") == ResultGone(record=key(a="1").digest)


def test_a_step_that_makes_the_same_again_is_recognised(index: Index) -> None:
    """Whether its inputs changed or not."""
    cache = StepCache(index, exists=lambda stack: True)
    assert not remember(cache, key(a="1"), ONE)
    assert remember(cache, key(a="2"), ONE)
    assert not remember(cache, key(a="3"), TWO)


def test_blobs_and_memos_are_kept(index: Index) -> None:
    """By layer and form, and by kind and key."""
    blob = KnownBlob(digest=digest_of(b"gz"), size=7, diff_id=digest_of(b"tar"))
    index.add_blob(ONE.id, "gzip", blob)
    index.add_memo("selection", b"key", b"value")
    assert index.blob(ONE.id, "gzip") == blob
    assert index.blob(ONE.id, "zstd") is None
    assert index.memo("selection", b"key") == b"value"
    assert index.memo("other", b"key") is None


def test_many_threads_may_write_at_once(index: Index) -> None:
    """No record is lost."""
    cache = StepCache(index, exists=lambda stack: True)
    threads = [
        threading.Thread(target=remember, args=(cache, key(n=str(number)), ONE))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(cache.find(key(n=str(number))) for number in range(20))


def test_many_may_open_a_new_index_at_once(tmp_path: Path) -> None:
    """None of them finds it locked."""
    for number in range(20):
        path, barrier = str(tmp_path / f"{number}.db"), threading.Barrier(10)

        def opened(path: str = path, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            Index(path).close()

        with ThreadPoolExecutor(10) as pool:
            for future in [pool.submit(opened) for _ in range(10)]:
                future.result()


def test_a_file_that_is_no_index_is_said_to_be_damaged(tmp_path: Path) -> None:
    """With the path, and what to do."""
    (tmp_path / "index.db").write_bytes(b"this is no database, but it is long enough" * 100)
    with pytest.raises(HostError, match=r"index\.db cannot be used") as caught:
        Index(str(tmp_path / "index.db"))
    assert caught.value.hint


def test_an_index_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Rather than misread."""
    with sqlite3.connect(tmp_path / "index.db") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(HostError, match="version 99"):
        Index(str(tmp_path / "index.db"))
