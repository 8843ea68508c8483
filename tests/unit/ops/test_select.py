"""What a source of COPY takes from its tree."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from lamina.errors import UserError
from lamina.graph.ops import TreeSource
from lamina.ops.copying.select import SourceNotFound, select
from lamina.ops.copying.selection import Selection
from tests.support.copying import Copying, Files, lay_out

TREE: Files = {
    "foo.go": "foo",
    "bar.go": "bar",
    "sub/dir1/dir2/foo": "x",
    "sub/link": "-> dir1",
    "sub/dangling": "-> nowhere",
    "deep/a/b/c/d/e/bay": "1",
    "deep/a/b/c/d/foo": "2",
    "deep/a/b2/c/d/e/bar": "3",
    "deep/a/b/c2/d/e/baz": "4",
}

NOWHERE = (
    "/sub/dangling is a symlink to nowhere, "
    "which leads to nothing within the tree that is copied from"
)


def taken(
    copying: Copying,
    path: str,
    *,
    exclude: Sequence[str] = (),
    include: tuple[str, ...] = (),
    ignore: str | None = None,
    required: tuple[str, ...] = (),
) -> Selection:
    source = TreeSource(input=1, path=path, include=include, required=required)
    return select(copying.tree(copying.source, ignore), source, exclude)


def targets(selection: Selection) -> list[list[str]]:
    return [[os.fsdecode(item.target) for item in match.items] for match in selection.matches]


@pytest.fixture(autouse=True)
def tree(copying: Copying) -> None:
    lay_out(copying.source, TREE)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/*.go", ["bar.go", "foo.go"]),
        ("/f*.go", ["foo.go"]),
        ("/sub/*/dir2/foo", ["foo"]),
        ("/sub/l*", ["link"]),
        ("/nomatch*", []),
        ("/sub/*/nomatch", []),
        ("/foo.go/*", []),
    ],
)
def test_wildcards(copying: Copying, path: str, names: list[str]) -> None:
    """A pattern names paths in sorted order; it may name none, and goes through no link."""
    selection = taken(copying, path)
    assert [os.fsdecode(match.name) for match in selection.matches] == names


def test_a_named_link_is_followed(copying: Copying) -> None:
    """The file keeps the link's name and has the content of what it leads to."""
    lay_out(copying.source, {"l": "-> foo.go"})
    [match] = taken(copying, "/l").matches
    assert (match.name, match.entry.path) == (b"l", b"foo.go")
    [match] = taken(copying, "/sub/lin?").matches
    assert match.entry.path == b"sub/dir1"


def test_links_in_a_directory_stay_links(copying: Copying) -> None:
    """Only what is named is followed."""
    [match] = taken(copying, "/sub").matches
    assert [os.fsdecode(item.target) for item in match.items] == [
        "dangling",
        "dir1",
        "dir1/dir2",
        "dir1/dir2/foo",
        "link",
    ]
    assert match.items[-1].entry.link == b"dir1"


@pytest.mark.parametrize(
    ("path", "shown", "hint"),
    [
        ("/missing", "/missing", None),
        ("/fo.go", "/fo.go", "did you mean /foo.go?"),
        ("/sub/dir1/dir3", "/sub/dir1/dir3", "did you mean /sub/dir1/dir2?"),
        ("/foo.go/x", "/foo.go/x", None),
        ("/sub/dangling", "/sub/dangling", NOWHERE),
        ("/sub/dan*", "/sub/dangling", NOWHERE),
        ("/missing/*.go", "/missing", None),
    ],
)
def test_a_missing_source(copying: Copying, path: str, shown: str, hint: str | None) -> None:
    """The error has BuildKit's words, and a hint where there is something like it."""
    with pytest.raises(SourceNotFound) as caught:
        taken(copying, path)
    words, _, end = caught.value.message.partition(" of ref ")
    assert words == "failed to compute cache key: failed to calculate checksum"
    ref, _, rest = end.partition(": ")
    assert len(ref) == 25
    assert ref.isalnum()
    assert ref.islower()
    assert rest == f'"{shown}": not found'
    assert caught.value.hint == hint


def test_an_ignored_source_says_so(copying: Copying) -> None:
    """The line of the ignore file is named."""
    with pytest.raises(SourceNotFound) as caught:
        taken(copying, "/foo.go", ignore="# nothing\n\n*.go\n")
    assert caught.value.hint == "/foo.go is excluded by .dockerignore line 3"


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["*.go"], ["sub", "sub/dangling", "sub/link"]),
        (["**/*.go"], ["sub", "sub/dangling", "sub/link"]),
        (["sub"], ["bar.go", "foo.go"]),
        (["*", "!foo.go"], ["foo.go"]),
        (["*", "!sub/link"], ["sub", "sub/link"]),
        (["*"], []),
        (["/foo.go"], ["bar.go", "foo.go", "sub", "sub/dangling", "sub/link"]),
    ],
)
def test_excluded(copying: Copying, exclude: list[str], left: list[str]) -> None:
    """Patterns are relative to the directory that is copied."""
    selection = taken(copying, "/", exclude=[*exclude, "deep", "sub/dir1"])
    assert targets(selection) == [left]


def test_a_file_that_is_named_is_never_excluded(copying: Copying) -> None:
    """Patterns are about what is in a directory."""
    assert targets(taken(copying, "/foo.go", exclude=["*.go"])) == [[""]]


@pytest.mark.parametrize(
    ("path", "include", "left"),
    [
        ("/", "deep/a/b/c/d/foo", ["deep", "deep/a", "deep/a/b", "deep/a/b/c", "deep/a/b/c/d"]),
        ("/deep/a/b", "c/d", ["c"]),
        ("/deep/a", "*/c", ["b", "b2"]),
    ],
)
def test_parents(copying: Copying, path: str, include: str, left: list[str]) -> None:
    """Directories on the way to what is included are there, but only implied."""
    selection = taken(copying, path, include=(include,))
    [match] = selection.matches
    implied = [os.fsdecode(item.target) for item in match.items if item.implied]
    assert implied == left
    assert any(not item.implied for item in match.items)


def test_parents_with_wildcards_in_pivot(copying: Copying) -> None:
    """Every match of the path before the pivot is a root of its own."""
    selection = taken(copying, "/deep/a/b*", include=("c/**/e",))
    assert targets(selection) == [
        ["c", "c/d", "c/d/e", "c/d/e/bay"],
        ["c", "c/d", "c/d/e", "c/d/e/bar"],
    ]


def test_required_paths(copying: Copying) -> None:
    """--parents without wildcards insists on its source."""
    assert targets(taken(copying, "/", include=("foo.go",), required=("/foo.go",)))
    with pytest.raises(SourceNotFound, match='"/nothing": not found'):
        taken(copying, "/", include=("nothing",), required=("/nothing",))
    assert targets(taken(copying, "/", include=("b2*/c",))) == [[]]


def test_a_pattern_that_cannot_match_below_is_not_followed(copying: Copying) -> None:
    """--parents src/main looks into src, and not into the large directory beside it."""
    tree = copying.tree(copying.source)
    select(tree, TreeSource(input=1, path="/", include=("sub/dir1",)))
    assert tree.counters.files_stat == 4 + 3 + 1 + 1


def test_malformed_patterns(copying: Copying) -> None:
    """A pattern that is none is the user's mistake."""
    with pytest.raises(UserError):
        taken(copying, "/[a")
    with pytest.raises(UserError):
        taken(copying, "/", exclude=["[a"])


class TestDigest:
    """What is part of the key."""

    def digest(self, copying: Copying, path: str = "/sub") -> str:
        return taken(copying, path).digest

    def test_times_do_not_matter(self, copying: Copying) -> None:
        """A file that was only touched is the same file."""
        before = self.digest(copying)
        os.utime(copying.source / "sub/dir1/dir2/foo", ns=(1, 1))
        os.utime(copying.source / "sub", ns=(1, 1))
        assert self.digest(copying) == before

    def test_attributes_of_the_directory_itself_do_not_matter(self, copying: Copying) -> None:
        """Only its contents are copied."""
        before = self.digest(copying)
        (copying.source / "sub").chmod(0o700)
        (copying.source / "sub").rename(copying.source / "renamed")
        assert self.digest(copying, "/renamed") == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda root: (root / "sub/dir1/dir2/foo").write_text("y"),
            lambda root: (root / "sub/dir1/dir2/foo").chmod(0o755),
            lambda root: (root / "sub/dir1").chmod(0o711),
            lambda root: (root / "sub/dir1/dir2/foo").rename(root / "sub/dir1/dir2/fox"),
            lambda root: (root / "sub/new").mkdir(),
            lambda root: (root / "sub/dangling").unlink(),
            lambda root: os.setxattr(root / "sub/dir1/dir2/foo", "user.a", b"b"),
            lambda root: os.link(root / "sub/dir1/dir2/foo", root / "sub/zoo"),
        ],
    )
    def test_everything_else_does(self, copying: Copying, change: object) -> None:
        """Content, modes, names, kinds and attributes."""
        before = self.digest(copying)
        assert callable(change)
        change(copying.source)
        assert self.digest(copying) != before

    def test_the_name_of_a_matched_file_matters(self, copying: Copying) -> None:
        """Renaming a file that a wildcard matches is a change."""
        before = taken(copying, "/foo*").digest
        (copying.source / "foo.go").rename(copying.source / "foo2.go")
        assert taken(copying, "/foo*").digest != before

    def test_a_file_is_no_directory(self, copying: Copying) -> None:
        """An empty directory and an empty file in its place differ."""
        lay_out(copying.source, {"empty": None})
        before = taken(copying, "/empty").digest
        (copying.source / "empty").rmdir()
        lay_out(copying.source, {"empty": ""})
        assert taken(copying, "/empty").digest != before

    def test_the_listing_names_what_changed(self, copying: Copying) -> None:
        """The difference of two listings is the path of the changed file."""
        before = taken(copying, "/sub").files()
        (copying.source / "sub/dir1/dir2/foo").write_text("y")
        changed = set(taken(copying, "/sub").files()) - set(before)
        assert [file.path for file in changed] == [b"sub/dir1/dir2/foo"]
