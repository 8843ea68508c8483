"""Bytes of an image that nobody will ever see."""

from __future__ import annotations

import pytest

from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.waste import weigh


def file(path: str, size: int) -> Entry:
    return Entry(path=path.encode(), kind=Kind.FILE, size=size)


def folder(path: str, *, opaque: bool = False) -> Entry:
    return Entry(path=path.encode(), kind=Kind.DIRECTORY, opaque=opaque)


def gone(path: str) -> Entry:
    return Entry(path=path.encode(), kind=Kind.WHITEOUT)


def layers(*entries: tuple[Entry, ...]) -> tuple[Manifest | None, ...]:
    return tuple(Manifest(each) for each in entries)


BELOW = (folder("a"), file("a/x", 5), folder("a/b"), file("a/b/y", 7), file("z", 11))


@pytest.mark.parametrize(
    ("above", "wasted"),
    [
        ((), []),
        ((file("new", 3),), []),
        ((file("z", 3),), [("z", 11, "overwritten")]),
        ((gone("z"),), [("z", 11, "removed")]),
        ((gone("a"),), [("a/b/y", 7, "removed"), ("a/x", 5, "removed")]),
        ((gone("nothing"),), []),
        ((folder("a"), file("a/new", 1)), []),
        (
            (folder("a", opaque=True), file("a/x", 1)),
            [("a/b/y", 7, "removed"), ("a/x", 5, "removed")],
        ),
        ((file("a", 1),), [("a/b/y", 7, "overwritten"), ("a/x", 5, "overwritten")]),
        ((folder("z"), file("z/in", 1)), [("z", 11, "overwritten")]),
        ((Entry(path=b"z", kind=Kind.SYMLINK, link=b"x"),), [("z", 11, "overwritten")]),
    ],
)
def test_what_a_layer_hides_is_wasted(
    above: tuple[Entry, ...], wasted: list[tuple[str, int, str]]
) -> None:
    """A file that is replaced or whited out, alone or with its folder; nothing else."""
    _, found = weigh(layers(BELOW, above), largest=3)
    assert sorted((one.path.decode(), one.size, one.how) for one in found) == wasted
    assert all((one.layer, one.by) == (0, 1) for one in found)


def test_every_version_of_a_file_but_the_last_is_wasted() -> None:
    """Each by the layer that comes next, and once."""
    same = [(file("db", size),) for size in (10, 20, 30)]
    _, found = weigh(layers(*same, (gone("db"),), (gone("db"),), (file("db", 40),)), largest=1)
    assert [(one.size, one.layer, one.by, one.how) for one in found] == [
        (10, 0, 1, "overwritten"),
        (20, 1, 2, "overwritten"),
        (30, 2, 3, "removed"),
    ]


def test_a_layer_is_told_by_its_numbers() -> None:
    """Bytes, what is new, what stands for another, what is taken away, and the largest files."""
    above = (file("a/x", 6), gone("z"), file("p", 1), file("q", 9))
    contents, _ = weigh(layers(BELOW, above), largest=2)
    content = contents[1]
    assert content is not None
    assert (content.size, content.added, content.overwrote, content.removed) == (16, 2, 1, 1)
    assert [entry.path for entry in content.largest] == [b"q", b"a/x"]


def test_a_layer_that_is_not_here_is_passed_over() -> None:
    """The numbers of the others stay theirs."""
    contents, found = weigh((None, *layers(BELOW), None, *layers((gone("a/b"),))), largest=1)
    assert [content is None for content in contents] == [True, False, True, False]
    assert [(one.path, one.layer, one.by) for one in found] == [(b"a/b/y", 1, 3)]


def test_thousands_of_files_take_no_time() -> None:
    """A folder with all of them is removed and made again, many times over."""
    many = (folder("d"), *(file(f"d/{n}", 1) for n in range(20_000)))
    _, found = weigh(layers(many, *([(gone("d"),), many[:100]] * 50)), largest=5)
    assert sum(one.size for one in found) == 20_000 + 49 * 99
