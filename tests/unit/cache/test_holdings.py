"""The table of what the store holds adds up, whatever comes and goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.cache.holdings import Holdings
from lamina.cache.index import Index


@pytest.fixture
def holdings(tmp_path: Path) -> Holdings:
    return Holdings(Index(str(tmp_path / "index.db")))


def test_what_is_here_adds_up(holdings: Holdings) -> None:
    """And what is gone does not count, though its size is still known."""
    holdings.add("layer", b"a", 100)
    holdings.add("blob", b"a", 10)
    holdings.add("layer", b"b", 1)
    assert holdings.total() == 111
    holdings.remove("layer", b"a")
    assert holdings.total() == 11
    assert holdings.size("layer", b"a") == 100
    assert holdings.size("layer", b"c") is None


def test_a_walk_puts_it_right(holdings: Holdings) -> None:
    """What somebody removed or changed by hand is seen then."""
    assert not holdings.is_whole()
    holdings.add("layer", b"gone", 100)
    holdings.add("layer", b"grown", 100)
    holdings.replace([("layer", b"grown", 200), ("blob", b"new", 5)])
    assert holdings.is_whole()
    assert holdings.total() == 205
    assert {name: held.size for name, held in holdings.all("layer").items()} == {b"grown": 200}


def test_an_index_from_before_the_table_gets_it(tmp_path: Path) -> None:
    """Another process sees what was added."""
    path = str(tmp_path / "index.db")
    Index(path).close()
    Holdings(Index(path)).add("layer", b"a", 7)
    assert Holdings(Index(path)).total() == 7
