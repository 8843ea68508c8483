"""Keys: what makes two of them equal, and what their difference says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamina.cachekey.difference import Change, compare_listings, compare_parts
from lamina.cachekey.key import CacheKey, ListedFile, Part

_text = st.text(max_size=8)
_parts = st.lists(st.tuples(_text, _text), max_size=6).map(
    lambda pairs: tuple(Part(name, value) for name, value in pairs)
)
_files = st.dictionaries(
    st.binary(max_size=3),
    st.tuples(st.integers(0, 0o7777), st.integers(0, 3), st.binary(max_size=2)),
    max_size=5,
).map(
    lambda files: tuple(
        ListedFile(path=path, mode=mode, uid=uid, gid=0, content=content)
        for path, (mode, uid, content) in files.items()
    )
)


@given(_parts, _parts)
def test_keys_are_equal_exactly_when_their_parts_are(
    one: tuple[Part, ...], other: tuple[Part, ...]
) -> None:
    """Neither joining nor reordering parts gives the key of other parts."""
    assert (CacheKey(one).digest == CacheKey(other).digest) == (one == other)


def test_parts_of_bytes_that_are_no_text_have_a_key() -> None:
    """Surrogates, which stand for bytes that are not UTF-8, are told apart."""
    one, other = (CacheKey((Part("file", chr(code)),)) for code in (0xDC80, 0xDC81))
    assert one.digest != other.digest


def test_a_key_never_changes_its_digest() -> None:
    """The encoding is a format: stores of earlier versions are read with it."""
    key = CacheKey((Part("instruction", "RUN make"), Part("parent", "sha256:0")))
    assert key.digest == ("sha256:88344ba4d54f3481a97a1df7a7500cdeff6bd8193e65028db41e3d4a6895cd5e")


@given(_parts, _parts)
def test_parts_differ_where_the_difference_says(
    before: tuple[Part, ...], after: tuple[Part, ...]
) -> None:
    """Applying the changes to the old parts gives the new ones."""
    known = {part.name: part.value for part in before}
    for change in compare_parts(before, after):
        if change.after is None:
            del known[change.part]
        else:
            known[change.part] = change.after
    assert known == {part.name: part.value for part in after}


@given(_files, _files)
def test_listings_differ_exactly_when_a_change_is_named(
    before: tuple[ListedFile, ...], after: tuple[ListedFile, ...]
) -> None:
    """Equal files give no change, others at least one."""
    same = {f.path: f for f in before} == {f.path: f for f in after}
    assert (compare_listings(before, after) == ()) == same


def test_a_mode_is_told_as_a_mode() -> None:
    """A changed umask does not look like changed content."""
    before = ListedFile(path=b"src/app.py", mode=0o644, uid=0, gid=0, content=b"x")
    after = ListedFile(path=b"src/app.py", mode=0o664, uid=0, gid=0, content=b"x")
    assert compare_listings((before,), (after,)) == (
        Change(part="mode:src/app.py", before="0644", after="0664"),
    )
