"""The difference of two keys, in groups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamina.cachekey.difference import Change, compare_listings, group_files
from lamina.cachekey.key import ListedFile

FILES = st.dictionaries(
    st.sampled_from([b"a", b"b", b"c/d", b"\xff"]),
    st.tuples(st.sampled_from([0o644, 0o664, 0o755]), st.integers(0, 2), st.binary(max_size=1)),
)


def listing(files: dict[bytes, tuple[int, int, bytes]]) -> tuple[ListedFile, ...]:
    return tuple(
        ListedFile(path=path, mode=mode, uid=owner, gid=owner, content=content)
        for path, (mode, owner, content) in files.items()
    )


@given(FILES, FILES)
def test_groups_count_every_change_once(
    before: dict[bytes, tuple[int, int, bytes]], after: dict[bytes, tuple[int, int, bytes]]
) -> None:
    """No change is lost, and none is told twice; equal listings have none."""
    changes = compare_listings(listing(before), listing(after), within="files:1:/")
    groups = group_files(changes)
    assert sum(group.count for group in groups) == len(changes)
    assert bool(changes) == (before != after)
    assert all(group.within == "files:1:/" for group in groups)


def test_equal_changes_of_modes_are_one_group() -> None:
    """What a umask has done is one thing."""
    before = listing({b"a": (0o644, 0, b"1"), b"b": (0o644, 0, b"2"), b"c": (0o755, 0, b"3")})
    after = listing({b"a": (0o664, 0, b"1"), b"b": (0o664, 0, b"2"), b"c": (0o775, 0, b"4")})
    groups = group_files(compare_listings(before, after))
    assert [(g.kind, g.before, g.after, g.count) for g in groups] == [
        ("changed", "", "", 1),
        ("mode", "0644", "0664", 2),
        ("mode", "0755", "0775", 1),
    ]


def test_other_parts_are_no_files() -> None:
    """They are passed over."""
    assert group_files([Change(part="argument:V", before="1", after="2")]) == ()
