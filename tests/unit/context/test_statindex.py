"""Digests remembered by what stat says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.context.statindex import Record, Stamp, StatIndex, index_file, settled, stamp_of


def stamp(
    size: int = 3, mtime: int = 100, ctime: int = 100, inode: int = 7, device: int = 1
) -> Stamp:
    values = {"st_mtime_ns": mtime, "st_ctime_ns": ctime}
    return stamp_of(os.stat_result((0, inode, device, 1, 0, 0, size, 0, 0, 0), values))


STAMP = stamp()
LONG_AFTER = 10**18
SECOND = 10**9


def record() -> Record:
    return Record(STAMP, b"d" * 32, ((b"user.x", b"y"),))


def test_a_record_outlives_the_process(tmp_path: Path) -> None:
    """What was saved is found with the same stamp, and with no other."""
    index = StatIndex(str(tmp_path / "deep" / "index"))
    index.store(b"a\xff", record(), read_ns=LONG_AFTER)
    index.save()
    again = StatIndex(str(tmp_path / "deep" / "index"))
    assert again.find(b"a\xff", STAMP) == record()
    for other in (stamp(4), stamp(3, 101), stamp(ctime=101), stamp(inode=8), stamp(device=2)):
        assert again.find(b"a\xff", other) is None
    assert again.find(b"b", STAMP) is None


def test_two_processes_keep_each_others_records(tmp_path: Path) -> None:
    """Saving adds to what another saved meanwhile."""
    one, two = StatIndex(str(tmp_path / "index")), StatIndex(str(tmp_path / "index"))
    assert one.find(b"a", STAMP) is None
    assert two.find(b"b", STAMP) is None
    one.store(b"a", record(), read_ns=LONG_AFTER)
    two.store(b"b", record(), read_ns=LONG_AFTER)
    one.save()
    two.save()
    again = StatIndex(str(tmp_path / "index"))
    assert again.find(b"a", STAMP)
    assert again.find(b"b", STAMP)


@pytest.mark.parametrize("damage", [b"", b"\x00", b"garbage", b"\x92\x63\x80", b"\x92\x01\x81\x01"])
def test_a_damaged_index_is_as_none(tmp_path: Path, damage: bytes) -> None:
    """A file that cannot be read costs time, and nothing else; the next save makes it whole."""
    path = tmp_path / "index"
    path.write_bytes(damage)
    index = StatIndex(str(path))
    assert index.find(b"a", STAMP) is None
    index.store(b"a", record(), read_ns=LONG_AFTER)
    index.save()
    assert StatIndex(str(path)).find(b"a", STAMP) == record()


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path) -> None:
    """A fully cached build leaves the index alone."""
    path = tmp_path / "index"
    index = StatIndex(str(path))
    index.store(b"a", record(), read_ns=LONG_AFTER)
    index.save()
    before = path.stat()
    again = StatIndex(str(path))
    assert again.find(b"a", STAMP)
    again.save()
    assert path.stat().st_ino == before.st_ino


def test_an_index_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """A full or read-only disk must not fail a build that needs nothing from it."""
    (tmp_path / "file").write_bytes(b"")
    index = StatIndex(str(tmp_path / "file" / "index"))
    index.store(b"a", record(), read_ns=LONG_AFTER)
    index.save()


def test_forgotten_files_do_not_pile_up(tmp_path: Path) -> None:
    """Records that nobody asks for are dropped once they outnumber the others."""
    path = tmp_path / "index"
    index = StatIndex(str(path))
    for number in range(6_000):
        index.store(b"%d" % number, record(), read_ns=LONG_AFTER)
    index.save()
    later = StatIndex(str(path))
    later.store(b"new", record(), read_ns=LONG_AFTER)
    later.save()
    assert StatIndex(str(path)).find(b"17", STAMP) is None
    assert StatIndex(str(path)).find(b"new", STAMP) == record()


@given(
    read=st.integers(10**12, 9 * 10**18), age=st.integers(0, 10**10), change=st.integers(0, 10**7)
)
def test_a_settled_stamp_cannot_be_had_again(read: int, age: int, change: int) -> None:
    """Whoever changes a file after it was read gives it another ctime, ticks of 10 ms included."""
    changed_at = read + 1 + change
    tick = changed_at - changed_at % 10_000_000
    if settled(stamp(1, read - age, read - age), read):
        assert tick > read - age


@given(read=st.integers(10, 10**9), age=st.integers(0, 5))
def test_whole_seconds_are_not_trusted_for_two(read: int, age: int) -> None:
    """File systems that count in seconds, or in twos of them, need as long to settle."""
    time = (read - age) * SECOND
    assert settled(stamp(1, time, time), read * SECOND) == (age > 2)


def test_every_context_has_its_own_index(tmp_path: Path) -> None:
    """One directory has one index, by whichever name it is reached."""
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    directory = str(tmp_path)
    one = index_file(directory, str(tmp_path / "a"))
    assert one == index_file(directory, str(tmp_path / "link"))
    assert one != index_file(directory, str(tmp_path))


def test_times_that_are_too_late_are_never_trusted() -> None:
    """A file from the year 3000 is read in every build."""
    assert not settled(stamp(mtime=32_503_680_000 * SECOND), 9 * 10**18)
