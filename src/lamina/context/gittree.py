"""A folder of a commit as a file tree, as a build would see it after a checkout.

    100644 → 0644   100755 → 0755   120000 → symlink   040000 → 0755   160000 → a submodule

Modes are those that a checkout with the umask 022 gives; everything belongs to 0:0, as in a
context. What a submodule holds is not in the repository: it stands for a folder with one file,
which changes with the commit that it names.

Commits share most of their trees. A listing depends on the ignore file, the folder's path and its
tree's id alone, and so does all that is below it: both are kept in `GitListings` for all commits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from lamina.context.gitobjects import GitObjects, GitRow
from lamina.context.lookup import look_up
from lamina.context.tree import Ignore, IgnoreDirectory
from lamina.errors import HostError
from lamina.layer.entry import Entry, Kind

_MAX_LINK = 4096
_DIRECTORY, _SYMLINK, _SUBMODULE, _EXECUTABLE = 0o040000, 0o120000, 0o160000, 0o111
_ROOT = Entry(path=b"", kind=Kind.DIRECTORY, mode=0o755)


class _Listing(msgspec.Struct, frozen=True):
    """What a folder holds, by name in sorted order; the ids of all of it; what is hidden."""

    entries: dict[bytes, Entry]
    ids: dict[bytes, bytes]
    hidden: dict[bytes, int]


_Key = tuple[bytes, bytes, bytes]


class GitListings:
    """What many trees of one repository share. `submodules` are the paths of those that were met.

    For one thread at a time.
    """

    def __init__(self, objects: GitObjects) -> None:
        self.objects = objects
        self.submodules: set[bytes] = set()
        self._listings: dict[_Key, _Listing] = {}
        self._below: dict[_Key, tuple[Entry, ...]] = {}
        self._directories: dict[tuple[bytes, bytes], IgnoreDirectory] = {}

    def with_git_folder(self, tree: bytes, commit: str) -> bytes:
        """The tree with the `.git` that stands in it on disk, and is another one in every clone."""
        head = self.objects.add_blob(commit.encode())
        folder = self.objects.add_tree([GitRow(0o100644, b"HEAD", head)])
        rows = [row for row in self.objects.tree(tree) if row.name != b".git"]
        return self.objects.add_tree([*rows, GitRow(_DIRECTORY, b".git", folder)])

    def listing(self, key: _Key, ignore: Ignore | None) -> _Listing:
        """`key`: a name for the ignore file, the folder's path, and the id of its tree."""
        known = self._listings.get(key)
        if known is None:
            known = self._listings[key] = self._list(key, ignore)
        return known

    def below(self, key: _Key, ignore: Ignore | None) -> tuple[Entry, ...]:
        """Everything below a folder, depth first and sorted, with digests."""
        known = self._below.get(key)
        if known is not None:
            return known
        listing = self.listing(key, ignore)
        ids = listing.ids
        files = [name for name, entry in listing.entries.items() if entry.kind is Kind.FILE]
        blobs = self.objects.blobs(ids[name] for name in files)
        found: list[Entry] = []
        for name, entry in listing.entries.items():
            if entry.kind is Kind.FILE:
                digest, size = msgspec.structs.astuple(blobs[ids[name]])
                found.append(replace(entry, digest=digest, size=size))
                continue
            found.append(entry)
            if entry.kind is Kind.DIRECTORY:
                found += self.below((key[0], entry.path, ids[name]), ignore)
        known = self._below[key] = tuple(found)
        return known

    def _list(self, key: _Key, ignore: Ignore | None) -> _Listing:
        name_of_ignore, path, tree = key
        prefix = path + b"/" if path else b""
        directory = self._directory(name_of_ignore, path, ignore)
        entries: dict[bytes, Entry] = {}
        ids: dict[bytes, bytes] = {}
        hidden: dict[bytes, int] = {}
        for row in sorted(self.objects.tree(tree), key=_by_name):
            entry, ids[row.name] = self._entry(prefix + row.name, row)
            if directory is not None:
                decision = directory.decide(row.name)
                inner = (name_of_ignore, entry.path, ids[row.name])
                if decision.ignored and not self._holds_included(entry, inner, ignore):
                    hidden[row.name] = decision.line or 0
                    continue
            entries[row.name] = entry
        return _Listing(entries, ids, hidden)

    def _holds_included(self, entry: Entry, key: _Key, ignore: Ignore | None) -> bool:
        """Whether something below an ignored directory is included, which keeps the directory."""
        if entry.kind is not Kind.DIRECTORY:
            return False
        directory = self._directory(key[0], entry.path, ignore)
        if directory is None or not directory.may_reinclude:
            return False
        return bool(self.listing(key, ignore).entries)

    def _directory(
        self, name_of_ignore: bytes, path: bytes, ignore: Ignore | None
    ) -> IgnoreDirectory | None:
        """Where a walk with the ignore file stands in a folder."""
        if ignore is None:
            return None
        known = self._directories.get((name_of_ignore, path))
        if known is None:
            if not path:
                known = ignore.walk()
            else:
                above, _, name = path.rpartition(b"/")
                parent = self._directory(name_of_ignore, above, ignore)
                assert parent is not None
                known = parent.enter(name)
            self._directories[name_of_ignore, path] = known
        return known

    def _entry(self, path: bytes, row: GitRow) -> tuple[Entry, bytes]:
        """The entry of a row, and the id of what it stands for."""
        kind = row.mode & 0o170000
        if kind == _DIRECTORY:
            return Entry(path=path, kind=Kind.DIRECTORY, mode=0o755), row.id
        if kind == _SUBMODULE:
            self.submodules.add(path)
            head = self.objects.add_blob(row.id)
            inside = self.objects.add_tree([GitRow(0o100644, b".git", head)])
            return Entry(path=path, kind=Kind.DIRECTORY, mode=0o755), inside
        if kind == _SYMLINK:
            link = self.objects.read(row.id, most=_MAX_LINK)
            return Entry(path=path, kind=Kind.SYMLINK, mode=0o777, link=link), row.id
        mode = 0o755 if row.mode & _EXECUTABLE else 0o644
        return Entry(path=path, kind=Kind.FILE, mode=mode), row.id


class GitTree:
    """Implements lamina.layer.tree.Tree for the tree `id` of a commit.

    `ignore` is what the file `ignore_file` with the content `ignore_text` says.
    """

    def __init__(
        self,
        listings: GitListings,
        id: bytes,  # noqa: A002 - git's word
        ignore: Ignore | None = None,
        *,
        ignore_file: str = ".dockerignore",
        ignore_text: bytes = b"",
    ) -> None:
        self.ignore_file = ignore_file
        self._shared = listings
        self._id = id
        self._ignore = ignore
        self._name = b"" if ignore is None else b"ignore " + ignore_text

    # The port Tree

    def lookup(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """See Tree. Raises UserError for a circle of symlinks, HostError for a missing object."""
        return look_up(_ROOT, path, self._inside, follow=follow)

    def _inside(self, path: bytes) -> Mapping[bytes, Entry]:
        return self._list(path).entries

    def children(self, path: bytes) -> Iterable[Entry]:
        return self._inside(path).values()

    def walk(self, path: bytes) -> Iterator[Entry]:
        """See Tree; the entries have their digests already."""
        return iter(self._shared.below(self._key(path), self._ignore))

    def host_path(self, path: bytes) -> bytes:
        """Nothing of it is on disk: raises HostError."""
        raise HostError(f"/{os.fsdecode(path)} is in a commit, and not on disk")

    def digests(self, entries: Iterable[Entry]) -> list[Entry]:
        found = list(entries)
        wanted = [e for e in found if e.kind is Kind.FILE and not e.digest]
        if not wanted:
            return found
        ids = {entry.path: self.identity(entry.path) for entry in wanted}
        blobs = self._shared.objects.blobs(ids.values())
        return [
            replace(entry, digest=blobs[ids[entry.path]].digest, size=blobs[ids[entry.path]].size)
            if entry.path in ids
            else entry
            for entry in found
        ]

    # What a tree of git can tell besides

    def identity(self, path: bytes) -> bytes:
        """The object id of what is at a real path."""
        if not path:
            return self._id
        above, _, name = path.rpartition(b"/")
        return self._list(above).ids[name]

    @property
    def ignore_name(self) -> bytes:
        """Equal for trees with the same ignore file."""
        return self._name

    def same_file(self, path: bytes) -> tuple[int, int] | None:
        """See ops.copying.select.Linking: git knows no hard links."""
        return None

    def excluded_by(self, path: bytes) -> int | None:
        """The line of the ignore file that hides what is in the commit at `path`, or above it."""
        here = b""
        for part in path.split(b"/"):
            entry = self.lookup(here)
            if entry is None or entry.kind is not Kind.DIRECTORY:
                return None
            hidden = self.hidden(entry.path)
            if part in hidden:
                return hidden[part]
            here = b"/".join((entry.path, part)).lstrip(b"/")
        return None

    def hidden(self, path: bytes) -> Mapping[bytes, int]:
        """The names in a folder that the ignore file keeps out, and the lines that say so."""
        return self._list(path).hidden

    def read(self, path: bytes, *, most: int) -> bytes:
        """The content of the file at a real path. Raises HostError."""
        return self._shared.objects.read(self.identity(path), most=most)

    def _list(self, path: bytes) -> _Listing:
        return self._shared.listing(self._key(path), self._ignore)

    def _key(self, path: bytes) -> _Key:
        return self._name, path, self.identity(path)


def _by_name(row: GitRow) -> bytes:
    return row.name
