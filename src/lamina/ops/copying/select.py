"""Selecting: from a source of COPY or ADD to the files that it takes.

path without wildcards   must exist; symlinks are followed to the end
path with wildcards      may name nothing; a symlink that it names is followed to the end
a directory              what is in it, as it is; symlinks in it stay symlinks
--exclude, --parents     patterns on paths below the directory (never on a single file)
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, runtime_checkable

from msgspec.structs import replace

from lamina.dockerfile.ignore_matcher import Directory, IgnoreMatcher
from lamina.errors import UserError
from lamina.graph.ops import TreeSource
from lamina.layer.entry import Entry, Kind
from lamina.layer.tree import Tree
from lamina.notation.suggest import nearest
from lamina.ops.copying.selection import Item, Match, Selection, shown
from lamina.ops.copying.wildcards import expand, split_wildcards

_REF_LENGTH: Final = 25


class SourceNotFound(UserError):
    """A source of COPY, ADD or a bind mount is not in its tree. `path` is absolute."""

    def __init__(self, message: str, *, path: str, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.word = path


@runtime_checkable
class Hiding(Protocol):
    """A tree that leaves out what is on disk, and can say why."""

    ignore_file: str

    def excluded_by(self, path: bytes) -> int | None: ...


@runtime_checkable
class Linking(Protocol):
    """A tree whose FILE entries may be the same file."""

    def same_file(self, path: bytes) -> tuple[int, int] | None: ...


def select(
    tree: Tree, source: TreeSource, exclude: Sequence[str] = (), *, name: str = ""
) -> Selection:
    """What `source` takes from `tree`, with digests.

    `name` stands for the tree in messages. Raises SourceNotFound, other UserErrors for malformed
    patterns, and what the tree raises.
    """
    selecting = _Selecting(tree, source, exclude, name)
    return Selection(source, tree, tuple(selecting.matches()))


def select_paths(tree: Tree, source: TreeSource, exclude: Sequence[str] = ()) -> Iterator[bytes]:
    """The paths in `tree` that `select` would take, without looking into a file."""
    return _Selecting(tree, source, exclude, source.path).paths()


class _Selecting:
    def __init__(self, tree: Tree, source: TreeSource, exclude: Sequence[str], name: str) -> None:
        self._tree = tree
        self._source = source
        self._name = name
        self._include = IgnoreMatcher.of(source.include) if source.include else None
        self._exclude = IgnoreMatcher.of(exclude) if exclude else None

    def matches(self) -> list[Match]:
        matches = [self._match(path, entry) for path, entry in self._named()]
        for required in self._source.required:
            wanted = os.fsencode(required.strip("/"))
            if not any(i.entry.path.startswith(wanted) for m in matches for i in m.items):
                raise self._not_found(wanted)
        return matches

    def paths(self) -> Iterator[bytes]:
        for _, entry in self._named():
            if entry.kind is not Kind.DIRECTORY:
                yield entry.path
                continue
            yield from (item.entry.path for item in self._below(entry))

    def _named(self) -> Iterator[tuple[bytes, Entry]]:
        """The paths that the source names, and where they lead."""
        path = self._source.path
        if not self._source.wildcards:
            name = os.fsencode(path.strip("/"))
            yield name, self._existing(name, follow=False)
            return
        base, patterns = split_wildcards(path)
        if not patterns:
            name = os.fsencode(base)
            yield name, self._existing(name)
            return
        directory = self._existing(os.fsencode(base))
        for entry in expand(self._tree, directory, patterns):
            yield entry.path, self._existing(entry.path)

    def _existing(self, path: bytes, *, follow: bool = True) -> Entry:
        entry = self._tree.lookup(path, follow=follow)
        if entry is None:
            raise self._not_found(path)
        return entry

    def _match(self, path: bytes, entry: Entry) -> Match:
        if entry.kind is Kind.DIRECTORY:
            found = list(self._below(entry))
        else:
            found = [Item(b"", entry)]
        return Match(name=path.rpartition(b"/")[2], entry=entry, items=self._completed(found))

    def _below(self, directory: Entry) -> Iterator[Item]:
        start = len(directory.path) + 1 if directory.path else 0
        if self._include is None and self._exclude is None:
            return (Item(entry.path[start:], entry) for entry in self._tree.walk(directory.path))
        include = self._include.walk() if self._include else None
        exclude = self._exclude.walk() if self._exclude else None
        return _filtered(self._tree, directory.path, start, include, exclude, [])

    def _completed(self, items: list[Item]) -> tuple[Item, ...]:
        """With digests, and with those that are the same file joined."""
        entries = self._tree.digests(item.entry for item in items)
        filtered = self._include is not None or self._exclude is not None
        same = _same_files(self._tree, items, filtered=filtered)
        done: list[Item] = []
        for item, entry in zip(items, entries, strict=True):
            first = same.get(item.target)
            if first is None and entry.kind is Kind.HARDLINK:
                entry = self._file_of(entry)  # noqa: PLW2901 - what it stands for
            if entry is not item.entry or first is not None:
                item = Item(item.target, entry, item.implied, first)  # noqa: PLW2901
            done.append(item)
        return tuple(done)

    def _file_of(self, link: Entry) -> Entry:
        """The file that a hard link repeats, at the link's path: what it links to is not taken."""
        file = self._tree.lookup(link.link, follow=False)
        if file is None or file.kind is not Kind.FILE:
            raise self._not_found(link.link)
        [file] = self._tree.digests([file])
        return replace(file, path=link.path)

    def _not_found(self, path: bytes) -> SourceNotFound:
        # BuildKit names the tree by a passing id of this form.
        ref = hashlib.sha256(self._name.encode("utf-8", "surrogateescape")).digest()
        ref_name = base64.b32encode(ref).decode().lower()[:_REF_LENGTH]
        return SourceNotFound(
            "failed to compute cache key: failed to calculate checksum of ref "
            f'{ref_name}: "{shown(path)}": not found',
            path=shown(path),
            hint=_why_missing(self._tree, path),
        )


def _filtered(
    tree: Tree,
    path: bytes,
    start: int,
    include: Directory | None,
    exclude: Directory | None,
    waiting: list[Item],
) -> Iterator[Item]:
    """What is below `path` and passes the patterns.

    `waiting` are the directories above that did not pass, and are needed by the first that does.
    """
    for entry in tree.children(path):
        name = entry.path.rpartition(b"/")[2]
        taken = (include is None or include.decide(name).ignored) and (
            exclude is None or not exclude.decide(name).ignored
        )
        item = Item(entry.path[start:], entry, implied=not taken)
        if taken:
            yield from waiting
            waiting.clear()
            yield item
        if entry.kind is not Kind.DIRECTORY:
            continue
        inner_include = include.enter(name) if include else None
        inner_exclude = exclude.enter(name) if exclude else None
        if not taken and not _may_hold(inner_include, inner_exclude):
            continue
        if not taken:
            waiting.append(item)
        yield from _filtered(tree, entry.path, start, inner_include, inner_exclude, waiting)
        if waiting and waiting[-1] is item:
            waiting.pop()


def _may_hold(include: Directory | None, exclude: Directory | None) -> bool:
    """Whether a directory that did not pass itself may hold what does."""
    if exclude is not None and exclude.decision.ignored and not exclude.may_reinclude:
        return False
    if include is None or include.decision.ignored:
        return True
    patterns = include.matcher.patterns
    return any(not patterns[index].exclusion for index in include.open)


def _same_files(tree: Tree, items: list[Item], *, filtered: bool) -> dict[bytes, bytes]:
    """For the targets that repeat a file of an earlier one: the earlier target."""
    first: dict[object, bytes] = {}
    same: dict[bytes, bytes] = {}
    key_of = _file_keys(tree, items, filtered=filtered)
    if key_of is None:
        return same
    for item in items:
        key = key_of(item.entry)
        if key is None:
            continue
        earlier = first.setdefault(key, item.target)
        if earlier != item.target:
            same[item.target] = earlier
    return same


def _file_keys(
    tree: Tree, items: list[Item], *, filtered: bool
) -> Callable[[Entry], object] | None:
    """What is equal for all names of a file, None where there is only one.

    A walk gives HARDLINKs. Where it was not a walk that found the files, the disk has to be asked.
    """
    if isinstance(tree, Linking):
        same_file = tree.same_file
        return lambda entry: same_file(entry.path) if entry.kind is Kind.FILE else None
    if filtered:
        return lambda entry: _inode(tree.host_path(entry.path)) if _is_file(entry) else None
    if any(item.entry.kind is Kind.HARDLINK for item in items):
        return lambda entry: (entry.link or entry.path) if _is_file(entry) else None
    return None


def _is_file(entry: Entry) -> bool:
    return entry.kind is Kind.FILE or entry.kind is Kind.HARDLINK


def _inode(path: bytes) -> tuple[int, int] | None:
    status = os.lstat(path)
    return (status.st_dev, status.st_ino) if status.st_nlink > 1 else None


def _why_missing(tree: Tree, path: bytes) -> str | None:
    if isinstance(tree, Hiding) and (line := tree.excluded_by(path)) is not None:
        return f"{shown(path)} is excluded by {tree.ignore_file} line {line}"
    here: Entry | None = tree.lookup(b"")
    walked: list[bytes] = []
    for part in path.split(b"/"):
        if here is None or here.kind is not Kind.DIRECTORY:
            return None
        names = [os.fsdecode(e.path.rpartition(b"/")[2]) for e in tree.children(here.path)]
        if os.fsdecode(part) not in names:
            meant = nearest(os.fsdecode(part), names)
            if meant is None:
                return None
            return f"did you mean {shown(b'/'.join([*walked, os.fsencode(meant)]))}?"
        walked.append(part)
        link = tree.lookup(b"/".join(walked), follow=False)
        here = tree.lookup(b"/".join(walked))
        if here is None and link is not None and link.kind is Kind.SYMLINK:
            return (
                f"{shown(link.path)} is a symlink to {os.fsdecode(link.link)}, "
                "which leads to nothing within the tree that is copied from"
            )
    return None
