"""`layout=records`: entries of many writers in one place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from lamina.oci.digest import digest_of
from lamina.remotecache.document import CachedLayer, CacheDocument, CachedStep
from lamina.remotecache.encoding import encode
from lamina.remotecache.layouts import (
    MANY,
    Entry,
    RecordsPlace,
    read_records,
    read_scope,
    write_entry,
)
from lamina.remotecache.local import LocalCache
from lamina.remotecache.merging import merge
from lamina.remotecache.port import DocumentEntry, StoredDocument


def said(name: str) -> CacheDocument:
    step = CachedStep(
        key=digest_of(name.encode()),
        locus=name,
        name=name,
        parts=(),
        layers=(0,),
        seconds=1.0,
        created=1.0,
    )
    layer = CachedLayer(id=digest_of(b"id" + name.encode()), diff_id=digest_of(b""))
    return CacheDocument(layers=(layer,), steps=(step,))


def same(document: CacheDocument) -> CacheDocument:
    return document


def add(cache: LocalCache, place: RecordsPlace, name: str) -> bool:
    notes: list[str] = []
    entries = read_scope(cache, place, place.scopes[0], note=notes.append)
    return write_entry(cache, place, said(name), entries, note=notes.append, sign=same)


def read(cache: LocalCache, place: RecordsPlace) -> set[str]:
    document = read_records(cache, place, note=lambda text: None, check=same)
    return {step.name for step in document.steps} if document else set()


PLACE = RecordsPlace.of("cache", scope="", base="")


def test_every_writer_is_read(tmp_path: Path) -> None:
    """Writers who know nothing of each other all count; many entries become one."""
    cache = LocalCache(str(tmp_path / "c"))
    names = [f"step {number}" for number in range(3 * MANY)]
    for number, name in enumerate(names):
        assert add(cache, PLACE, name)
        assert read(cache, PLACE) == set(names[: number + 1])
        assert len(cache.names("")) <= MANY


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Ten at a time, some of which tidy up while others read and write."""
    folder = str(tmp_path / "c")
    names = [f"step {number}" for number in range(40)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda name: add(LocalCache(folder), PLACE, name), names))
        seen = list(pool.map(lambda _: read(LocalCache(folder), PLACE), range(10)))
    assert all(each == set(names) for each in seen)


def test_what_is_known_is_not_written_again(tmp_path: Path) -> None:
    """A cache that says it all stays as it is."""
    cache = LocalCache(str(tmp_path / "c"))
    assert add(cache, PLACE, "step")
    before = cache.names("")
    assert not add(cache, PLACE, "step")
    assert cache.names("") == before


def test_scopes_fall_back(tmp_path: Path) -> None:
    """A branch reads its own records, its base's and the default's; none of theirs changes."""
    cache = LocalCache(str(tmp_path / "c"))
    main = RecordsPlace.of("cache", scope="main", base="")
    branch = RecordsPlace.of("cache", scope="feature/x", base="main")
    add(cache, PLACE, "of default")
    add(cache, main, "of main")
    add(cache, branch, "of branch")
    assert read(cache, branch) == {"of default", "of main", "of branch"}
    assert read(cache, main) == {"of default", "of main"}
    assert read(cache, PLACE) == {"of default"}


@pytest.mark.parametrize("scope", ["main", "feature/x", "ä" * 200, "a-r-b", "-", "x" * 41])
def test_every_scope_has_names_that_a_registry_takes(scope: str) -> None:
    """Whatever a branch is called, its entries have tags of their own."""
    place = RecordsPlace.of("buildcache", scope=scope, base="")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", place.new_name())
    assert place.prefix(scope) != place.prefix(scope + "2")


def test_a_scope_does_not_read_one_that_begins_like_it(tmp_path: Path) -> None:
    """`main` and `main-2` are two scopes."""
    cache = LocalCache(str(tmp_path / "c"))
    add(cache, RecordsPlace.of("cache", scope="main-2", base=""), "other")
    assert read(cache, RecordsPlace.of("cache", scope="main", base="")) == set()


class Vanishing(LocalCache):
    """A place where somebody tidies up between a listing and the reading."""

    listed = 0

    def names(self, prefix: str) -> Sequence[DocumentEntry]:
        found = super().names(prefix)
        self.listed += 1
        if self.listed == 1:
            entries = read_scope(LocalCache(self.address), PLACE, "default", note=print)
            whole = [entry.name for entry in entries]
            self.write(tidied(entries, whole))
            for name in whole:
                self.remove(name)
        return found


def tidied(entries: Sequence[Entry], names: list[str]) -> StoredDocument:
    document = replace(merge([each.document for each in entries]), replaces=tuple(names))
    return StoredDocument(name=PLACE.new_name(), data=encode(document))


def test_an_entry_that_vanishes_is_found_where_it_went(tmp_path: Path) -> None:
    """A reader that listed names which are gone by then looks again."""
    folder = str(tmp_path / "c")
    for name in ("a", "b"):
        add(LocalCache(folder), PLACE, name)
    assert read(Vanishing(folder), PLACE) == {"a", "b"}


def test_an_entry_of_another_version_stays(tmp_path: Path) -> None:
    """What this Lamina cannot read is left out with a note, and never tidied away."""
    cache = LocalCache(str(tmp_path / "c"))
    newer = PLACE.new_name()
    cache.write(StoredDocument(name=newer, data=b'{"version":2}'))
    notes: list[str] = []
    for number in range(MANY + 2):
        add(cache, PLACE, f"step {number}")
    assert newer in {entry.name for entry in cache.names("")}
    read_records(cache, PLACE, note=notes.append, check=same)
    assert "version 2" in notes[0]
