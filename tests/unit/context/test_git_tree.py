"""The tree of a commit: the same as the checkout of it, without one."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from lamina.context.gitobjects import GitObjects, NoRepository, open_repository
from lamina.context.gittree import GitListings, GitTree
from lamina.context.statindex import StatIndex
from lamina.context.tree import ContextTree
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.errors import HostError
from lamina.graph.ops import TreeSource
from lamina.layer.entry import Entry, Kind
from lamina.ops.copying.select import select
from lamina.source import SourceFile

FILES = ("a.txt", "src/one.py", "src/deep/two.py", "src-more", "docs/x.md", "docs/y.txt", "empty")


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=dev", "-c", "user.email=dev@example.org")
        command = ["git", *who, *words]
        return subprocess.run(
            command, cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    for name in FILES:
        path = made.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name if name != "empty" else "")
        path.chmod(0o644)
    (made.folder / "src/one.py").chmod(0o755)
    (made.folder / "link").symlink_to("src/deep")
    (made.folder / "away").symlink_to("/etc")
    made.commit()
    return made


@pytest.fixture
def listings(repository: Repository) -> Iterator[GitListings]:
    with GitObjects(open_repository(str(repository.folder))) as objects:
        yield GitListings(objects)


def head(repository: Repository) -> bytes:
    return open_repository(str(repository.folder)).commits(most=1)[-1].tree


def both(
    repository: Repository, listings: GitListings, ignore: str | None
) -> tuple[GitTree, ContextTree]:
    """The commit, and what is checked out of it, with one ignore file; `.git` is in neither."""
    matcher = parse_ignore_file(SourceFile("ignore", f".git\n{ignore or ''}"))
    text = (ignore or "").encode()
    tree = GitTree(listings, head(repository), matcher, ignore_text=text)
    return tree, ContextTree(str(repository.folder), matcher, StatIndex(None))


def timeless(entry: Entry) -> Entry:
    return replace(entry, mtime_ns=0)


@pytest.mark.parametrize(
    "ignore", [None, "docs", "docs\n!docs/y.txt", "**/*.py\n!src/deep/*", "*\n!src/**", "src*"]
)
def test_is_the_checkout(repository: Repository, listings: GitListings, ignore: str | None) -> None:
    """Paths, kinds, modes, links, sizes and digests are those of the files on disk, and the same
    are ignored.
    """
    tree, disk = both(repository, listings, ignore)
    found = [timeless(entry) for entry in disk.digests(disk.walk(b""))]
    assert [timeless(entry) for entry in tree.walk(b"")] == found
    assert tree.hidden(b"") == {k: v for k, v in disk.hidden(b"").items() if k != b".git"}


@pytest.mark.parametrize(
    "source",
    [
        TreeSource(input=0, path="/"),
        TreeSource(input=0, path="/src"),
        TreeSource(input=0, path="/a.txt"),
        TreeSource(input=0, path="/link"),
        TreeSource(input=0, path="/s*"),
        TreeSource(input=0, path="/", include=("src/**/*.py",)),
    ],
)
def test_selections(repository: Repository, listings: GitListings, source: TreeSource) -> None:
    """A COPY takes from a commit what it takes from the checkout: the key is the same."""
    tree, disk = both(repository, listings, None)
    assert select(tree, source).digest == select(disk, source).digest
    excluded = ("**/*.md",)
    assert select(tree, source, excluded).digest == select(disk, source, excluded).digest


def test_lookups(repository: Repository, listings: GitListings) -> None:
    """Links are followed inside the tree only, and what is not there is not found."""
    tree, _ = both(repository, listings, None)
    found = tree.lookup(b"link/two.py")
    assert found is not None
    assert found.path == b"src/deep/two.py"
    assert tree.lookup(b"away") is None
    assert tree.lookup(b"away", follow=False) is not None
    assert tree.lookup(b"a.txt/b") is None
    assert tree.lookup(b"../../a.txt") == tree.lookup(b"a.txt")


def test_submodules(repository: Repository, listings: GitListings, tmp_path: Path) -> None:
    """A submodule is another one when it names another commit."""
    digests = []
    for number in ("1", "2"):
        name = number * 40
        repository.git("update-index", "--add", "--cacheinfo", f"160000,{name},lib")
        repository.git("commit", "-q", "-m", "submodule")
        tree = GitTree(listings, head(repository))
        entry = tree.lookup(b"lib")
        assert entry is not None
        assert entry.kind is Kind.DIRECTORY
        digests.append([entry.digest for entry in tree.walk(b"lib")])
    assert digests[0] != digests[1]
    assert listings.submodules == {b"lib"}


def test_the_git_folder(repository: Repository, listings: GitListings) -> None:
    """`.git` is in a context like any folder, changes with the commit, and can be ignored."""
    top = listings.with_git_folder(head(repository), "1" * 40)
    other = listings.with_git_folder(head(repository), "2" * 40)
    one, two = (list(GitTree(listings, tree).walk(b".git")) for tree in (top, other))
    assert one != two
    matcher = parse_ignore_file(SourceFile("ignore", ".git\n"))
    assert GitTree(listings, top, matcher).lookup(b".git") is None


def test_history(repository: Repository) -> None:
    """The last commits along the first parents, the oldest first."""
    repository.git("checkout", "-q", "-b", "topic")
    (repository.folder / "new").touch()
    side = repository.commit()
    repository.git("checkout", "-q", "main")
    mine = repository.commit()
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "topic")
    merge = repository.git("rev-parse", "HEAD")
    found = [commit.id for commit in open_repository(str(repository.folder)).commits(most=2)]
    assert found == [mine, merge]
    assert side not in found


def test_many_blobs(repository: Repository, listings: GitListings) -> None:
    """Digests are those of the contents, however many are asked for at once."""
    for number in range(300):
        (repository.folder / f"n{number}").write_text("x" * number * 100)
    repository.commit()
    tree = GitTree(listings, head(repository))
    for entry in tree.walk(b""):
        if entry.path.startswith(b"n"):
            content = b"x" * int(entry.path[1:]) * 100
            assert entry.digest == hashlib.sha256(content).digest()
            assert entry.size == len(content)


def test_missing_objects(repository: Repository, listings: GitListings) -> None:
    """An object that a partial clone left out is an error, and the next question is answered."""
    with pytest.raises(HostError, match="is missing"):
        listings.objects.blobs([b"\x01" * 20, b"\x02" * 20])
    assert listings.objects.tree(head(repository))


def test_no_repository(tmp_path: Path) -> None:
    """Where there is no history, that is said."""
    with pytest.raises(NoRepository, match="in no git repository"):
        open_repository(str(tmp_path))
    Repository(tmp_path / "new")
    with pytest.raises(NoRepository, match="has no commits"):
        open_repository(str(tmp_path / "new")).commits(most=1)
