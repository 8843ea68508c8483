"""From a directory to a manifest."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lamina.errors import HostError
from lamina.layer.entry import Entry, Kind
from lamina.layer.scan import read_diff


def lower(*entries: Entry) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in entries}


def directory(path: bytes, mode: int = 0o755) -> Entry:
    return Entry(
        path=path, kind=Kind.DIRECTORY, mode=mode, uid=os.geteuid(), gid=os.getegid(), mtime_ns=7
    )


@pytest.fixture
def diff(tmp_path: Path) -> Path:
    made = tmp_path / "diff"
    made.mkdir()
    made.chmod(0o755)
    return made


def test_untouched_directories_are_dropped(diff: Path) -> None:
    """A directory of which only the time differs is no part of the layer, nor are those above."""
    os.umask(0o022)
    (diff / "a/b/c").mkdir(parents=True)
    (diff / "a/new").mkdir()
    below = lower(*map(directory, (b"", b"a", b"a/b", b"a/b/c")))
    found = read_diff(str(diff), lower=below.get)
    assert [entry.path for entry in found.manifest.entries] == [b"a", b"a/new"]
    assert found.dropped == (b"a/b/c", b"a/b")


@pytest.mark.parametrize(
    "below", [{}, lower(directory(b"a", 0o700)), lower(Entry(path=b"a", kind=Kind.FILE))]
)
def test_different_directories_are_kept(diff: Path, below: dict[bytes, Entry]) -> None:
    """New ones, ones with another mode, and ones where a file was, are changes."""
    (diff / "a").mkdir(mode=0o755)
    entries = read_diff(str(diff), lower=below.get).manifest.entries
    assert [entry.path for entry in entries if entry.path] == [b"a"]


def test_root_is_an_entry_if_it_differs(diff: Path) -> None:
    """The root is 0755 root:root where nothing else is said."""
    os.chown(diff, 0, 0) if os.geteuid() == 0 else None
    assert read_diff(str(diff), lower=lower(directory(b"")).get).manifest.entries == ()
    diff.chmod(0o1777)
    (entry,) = read_diff(str(diff), lower=lower(directory(b"")).get).manifest.entries
    assert (entry.path, entry.mode) == (b"", 0o1777)


@pytest.mark.parametrize("pooled", [False, True])
def test_files_are_hashed(diff: Path, pooled: bool) -> None:
    """Small and large files have the digest of their content, in a pool or not."""
    contents = {b"empty": b"", b"small": b"x" * 1000, b"large": os.urandom(700_000)}
    for name, data in contents.items():
        (diff / os.fsdecode(name)).write_bytes(data)
    with ThreadPoolExecutor(2) as pool:
        found = read_diff(str(diff), hash_pool=pool if pooled else None)
    entries = {entry.path: entry for entry in found.manifest.entries if entry.path}
    assert {path: entry.digest for path, entry in entries.items()} == {
        name: hashlib.sha256(data).digest() for name, data in contents.items()
    }
    assert entries[b"large"].size == 700_000


def test_hard_links(diff: Path) -> None:
    """Of several names the first by order is the file; a name outside does not count."""
    (diff / "z").write_text("one")
    os.link(diff / "z", diff / "m")
    os.link(diff / "z", diff / "a-last-in-time")
    (diff / "alone").write_text("two")
    os.link(diff / "alone", diff.parent / "outside")
    entries = {e.path: e for e in read_diff(str(diff)).manifest.entries}
    assert entries[b"a-last-in-time"].kind is Kind.FILE
    assert {entries[name].link for name in (b"m", b"z")} == {b"a-last-in-time"}
    assert entries[b"z"].mode == entries[b"a-last-in-time"].mode
    assert entries[b"alone"].kind is Kind.FILE


def test_order_is_that_of_bytes(diff: Path) -> None:
    """Entries are sorted by path; a directory stands before what is in it."""
    for name in ("b/x", "b.c/x", "a", "b-/x"):
        (diff / name).parent.mkdir(exist_ok=True)
        (diff / name).write_text("")
    paths = [entry.path for entry in read_diff(str(diff)).manifest.entries if entry.path]
    assert paths == sorted(paths)
    assert paths.index(b"b") < paths.index(b"b/x")


@pytest.mark.root
def test_new_directories_are_not_opaque(diff: Path) -> None:
    """The opaque mark means nothing where no directory is below; there it is to be removed."""
    for name in ("new", "old", "file"):
        (diff / name).mkdir()
        os.setxattr(diff / name, "trusted.overlay.opaque", b"y")
    below = lower(directory(b"old"), Entry(path=b"file", kind=Kind.FILE))
    found = read_diff(str(diff), lower=below.get)
    opaque = {entry.path: entry.opaque for entry in found.manifest.entries if entry.path}
    assert opaque == {b"new": False, b"old": True, b"file": False}
    assert set(found.transparent) == {b"new", b"file"}


@pytest.mark.root
def test_overlay_attributes_are_not_content(diff: Path) -> None:
    """What overlayfs notes for itself is left out; capabilities and user attributes are kept."""
    (diff / "f").write_text("")
    for name in ("trusted.overlay.origin", "trusted.other", "user.overlay.impure", "user.a"):
        os.setxattr(diff / "f", name, b"v")
    (entry,) = (e for e in read_diff(str(diff)).manifest.entries if e.path)
    assert entry.xattrs == ((b"user.a", b"v"),)


def test_unreadable_is_a_host_error(tmp_path: Path) -> None:
    """A directory that is not there is said by name."""
    with pytest.raises(HostError, match="nowhere"):
        read_diff(str(tmp_path / "nowhere"))
