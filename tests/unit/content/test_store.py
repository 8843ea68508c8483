"""Blobs on disk."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.content.errors import WrongDigest
from lamina.content.store import BlobStore
from lamina.errors import HostError
from lamina.oci.digest import digest_of


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def left_over(store: BlobStore) -> list[str]:
    return os.listdir(store.root / "ingest")


def test_what_was_put_can_be_read(store: BlobStore) -> None:
    """A blob has its digest as its name, and a second store of the same folder sees it."""
    digest = store.put(b"hello")
    assert digest == digest_of(b"hello")
    other = BlobStore(store.root)
    assert other.has(digest)
    assert other.read(digest) == b"hello"
    assert other.size(digest) == 5
    assert list(other.digests()) == [digest]
    with other.open(digest) as file:
        assert file.read() == b"hello"


def test_the_folder_is_an_image_layout(store: BlobStore) -> None:
    """Files are where the OCI image spec puts them."""
    digest = store.put(b"hello")
    marker = json.loads((store.root / "oci-layout").read_text())
    assert marker == {"imageLayoutVersion": "1.0.0"}
    assert store.path(digest) == store.root / "blobs" / "sha256" / digest.removeprefix("sha256:")


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_the_sizes_of_writes_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    """A writer makes the blob of all its bytes in a row."""
    store = BlobStore(tmp_path_factory.mktemp("store"))
    whole = b"".join(pieces)
    with store.writer(digest_of(whole), len(whole)) as writer:
        for piece in pieces:
            writer.write(piece)
        assert writer.commit() == digest_of(whole)
    assert store.read(digest_of(whole)) == whole


def test_a_blob_is_not_there_before_it_is_complete(store: BlobStore) -> None:
    """An unfinished writer leaves nothing, neither a name nor a file."""
    with store.writer() as writer:
        writer.write(b"half")
        assert list(store.digests()) == []
    assert list(store.digests()) == []
    assert left_over(store) == []


def test_two_writers_of_one_blob_do_no_harm(store: BlobStore) -> None:
    """Both commit, and the blob is right."""
    with store.writer() as one, store.writer() as two:
        one.write(b"same")
        two.write(b"same")
        assert one.commit() == two.commit()
    assert store.read(digest_of(b"same")) == b"same"


def test_other_bytes_are_refused(store: BlobStore) -> None:
    """A wrong digest, too few and too many bytes never become a blob."""
    expected = digest_of(b"right")
    with store.writer(expected) as writer:
        writer.write(b"wrong")
        with pytest.raises(WrongDigest, match="expected sha256:"):
            writer.commit()
    with store.writer(expected, 5) as writer:
        writer.write(b"righ")
        with pytest.raises(WrongDigest, match="got 4"):
            writer.commit()
    with store.writer(expected, 5) as writer, pytest.raises(WrongDigest, match="got more"):
        writer.write(b"right!")
    assert list(store.digests()) == []
    assert left_over(store) == []


def test_a_writer_can_start_again(store: BlobStore) -> None:
    """After a restart only what follows counts."""
    with store.writer(digest_of(b"short"), 5) as writer:
        writer.write(b"long"[:4])
        writer.restart()
        assert writer.offset == 0
        writer.write(b"short")
        digest = writer.commit()
    assert store.read(digest) == b"short"


def test_removed_blobs_are_gone(store: BlobStore) -> None:
    """Removing says whether there was something; open streams go on."""
    digest = store.put(b"x")
    with store.open(digest) as file:
        assert store.remove(digest)
        assert file.read() == b"x"
    assert not store.remove(digest)
    assert not store.has(digest)


def test_a_damaged_document_is_seen(store: BlobStore) -> None:
    """Bytes that changed on the disk are not taken for the blob."""
    digest = store.put(b"document")
    store.path(digest).write_bytes(b"Document")
    with pytest.raises(HostError, match="damaged"):
        store.read(digest)


def test_documents_have_a_limit(store: BlobStore) -> None:
    """A huge blob is not read into memory."""
    digest = store.put(b"x" * 100)
    with pytest.raises(HostError, match="larger than 99 bytes"):
        store.read(digest, limit=99)
    assert len(store.read(digest, limit=100)) == 100


def test_a_missing_blob_is_an_error_with_its_path(store: BlobStore) -> None:
    """The message names the file."""
    digest = digest_of(b"never")
    with pytest.raises(HostError, match="No such file") as caught:
        store.read(digest)
    assert str(store.path(digest)) in caught.value.message


def _write_and_die(root: Path) -> None:
    with BlobStore(root).writer() as writer:
        writer.write(b"partial")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_is_cleared_by_the_next_start(store: BlobStore) -> None:
    """The dead writer's file goes, a living writer's stays."""
    child = multiprocessing.get_context("fork").Process(target=_write_and_die, args=(store.root,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(left_over(store)) == 1
    with store.writer() as living:
        living.write(b"alive")
        again = BlobStore(store.root)
        assert len(left_over(again)) == 1
        digest = living.commit()
    assert again.read(digest) == b"alive"
    assert left_over(again) == []


def _fill(root: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    store = BlobStore(root)
    try:
        with store.writer() as writer:
            writer.write(b"x" * 2000)
            writer.commit()
    except HostError as error:
        os._exit(0 if "File too large" in error.message and not left_over(store) else 1)
    os._exit(2)


def test_a_disk_that_takes_no_more_is_a_host_error(store: BlobStore) -> None:
    """A failing write names its cause, and leaves nothing behind."""
    child = multiprocessing.get_context("fork").Process(target=_fill, args=(store.root,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert list(store.digests()) == []


def test_a_store_that_cannot_be_made_is_a_host_error(tmp_path: Path) -> None:
    """A file in the way is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"Not a directory|File exists"):
        BlobStore(tmp_path / "file" / "store")
