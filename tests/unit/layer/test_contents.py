"""What small files hold, kept for whoever needs it next."""

from __future__ import annotations

from lamina.layer.contents import SMALL, Contents


def test_what_was_read_is_given_again() -> None:
    """By its digest; nothing is known of what was never kept."""
    contents = Contents()
    contents.keep(b"one", b"content")
    assert contents.get(b"one") == b"content"
    assert contents.get(b"other") is None


def test_large_files_are_not_kept() -> None:
    """They would push out thousands of small ones."""
    contents = Contents()
    contents.keep(b"small", bytes(SMALL))
    contents.keep(b"large", bytes(SMALL + 1))
    assert contents.get(b"small") is not None
    assert contents.get(b"large") is None


def test_memory_is_bounded() -> None:
    """Whatever is kept stays within the room; a content that is there twice needs it once."""
    contents = Contents(room=10_000)
    for number in range(100):
        contents.keep(b"same", bytes(1000))
        contents.keep(b"%d" % number, bytes(1000))
    kept = [number for number in range(100) if contents.get(b"%d" % number) is not None]
    assert kept == list(range(len(kept)))
    assert 5 <= len(kept) < 10


def test_very_many_files_are_not_kept_at_all() -> None:
    """A context of a hundred thousand files needs the memory for their entries."""
    contents = Contents()
    assert contents.for_files(1000) is contents
    contents.for_files(100_000).keep(b"one", b"content")
    assert contents.get(b"one") is None
