"""The merged tree of a stack of layers, read without mounting anything.

A path is looked for in the layers from the top, as overlayfs does: the first layer that has it
wins; a whiteout, an opaque directory or a file in a directory's place hides what is below.

             top    │ a/ (opaque)   │  directories("a")   = top
             middle │ a/x   b/y     │  directories("b")   = middle, bottom
             bottom │ a/z   b/      │

Which layers show a directory is remembered, so that a path costs one lstat(2) per layer that can
have it. Manifests, which may be large, are read for digests alone, or where the disk could not
hold the owners.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from lamina.errors import HostError, UserError
from lamina.fs.copyfile import hash_content
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.overlay import is_opaque, is_whiteout, read_entry
from lamina.oci.digest import Digest

_MOST_LINKS: Final = 255
_ROOT: Final = Entry(path=b"", kind=Kind.DIRECTORY, mode=0o755)


class LayerFiles(Protocol):
    """Where the layers lie."""

    def diff_dir(self, layer: Digest, /) -> str: ...
    def manifest(self, layer: Digest, /) -> Manifest: ...
    def is_exact(self, layer: Digest, /) -> bool: ...


class TooManyLinks(UserError):
    """A path goes through a circle of symlinks."""


class View:
    """The tree of `stack` (lowest first). It is a `lamina.layer.tree.Tree`.

    Paths are relative to the root; b"" is the root.
    """

    def __init__(self, layers: LayerFiles, stack: Sequence[Digest]) -> None:
        self._layers = layers
        self._ids = tuple(reversed(stack))
        self._roots = tuple(os.fsencode(layers.diff_dir(layer)) for layer in self._ids)
        self._exact: dict[int, bool] = {}
        self._shown: dict[bytes, tuple[int, ...]] = {}

    # What stands at a path.

    def lookup(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """What stands at `path`, its `path` being the real one. Raises TooManyLinks.

        Symlinks on the way are followed as if chrooted, the last one only with `follow`.
        """
        return self.entry(self.resolve(path, follow=follow))

    def resolve(self, path: bytes, *, follow: bool = True) -> bytes:
        """The real path; components that do not exist are kept. Raises TooManyLinks."""
        todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
        current = b""
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                current = current.rpartition(b"/")[0]
                continue
            inner = current + b"/" + part if current else part
            if todo and self._shown.get(inner):  # known to be a directory
                current = inner
                continue
            target = self._link(inner) if todo or follow else None
            if target is None:
                current = inner
                continue
            links += 1
            if links > _MOST_LINKS:
                raise TooManyLinks(f"/{os.fsdecode(path)} goes through too many symlinks")
            if target.startswith(b"/"):
                current = b""
            todo += [part for part in reversed(target.split(b"/")) if part not in (b"", b".")]
        return current

    def entry(self, path: bytes) -> Entry | None:
        """What stands at a real path; a symlink in it leads nowhere."""
        if not path:
            return self._root()
        found = self._find(path)
        if found is None:
            return None
        index, host, status = found
        return self._entry(path, index, host, status)

    def host_path(self, path: bytes) -> bytes:
        """Where the machine has the file with the real path `path`. Raises HostError."""
        found = self._find(path) if path else None
        if found is not None:
            return found[1]
        if not path and self._roots:
            return self._roots[0]
        raise HostError(f"/{os.fsdecode(path)} is not in the tree")

    def open(self, path: bytes) -> int:
        """A descriptor to read the file that `path` leads to. Raises HostError, TooManyLinks."""
        host = self.host_path(self.resolve(path))
        try:
            return os.open(host, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise HostError(f"/{os.fsdecode(path)} cannot be read: {error.strerror}") from error

    # Directories.

    def names(self, path: bytes) -> list[bytes]:
        """The sorted names in the directory with the real path `path`; [] if there is none."""
        return sorted(self._found(path))

    def children(self, path: bytes) -> Iterable[Entry]:
        """What the directory with the real path `path` holds, sorted by name."""
        return [entry for entry, _ in self._children(path)]

    def walk(self, path: bytes) -> Iterator[Entry]:
        """Everything below the directory with the real path `path`, depth first, sorted.

        The second name of a file in this walk is a HARDLINK to the first.
        """
        seen: dict[tuple[int, int], Entry] = {}
        todo = [iter(self._children(path))]
        while todo:
            for entry, status in todo[-1]:
                if entry.kind is Kind.FILE and status.st_nlink > 1:
                    first = seen.setdefault((status.st_dev, status.st_ino), entry)
                    if first is not entry:
                        yield _linked(first, entry)
                        continue
                yield entry
                if entry.kind is Kind.DIRECTORY:
                    todo.append(iter(self._children(entry.path)))
                    break
            else:
                todo.pop()

    def roots(self) -> tuple[bytes, ...]:
        """The directories of the layers that show anything, highest first.

        A stack may hold a layer twice (two steps made the same), which overlayfs refuses: the
        higher one hides the lower.
        """
        return tuple(dict.fromkeys(self._roots[index] for index in self.directories(b"")))

    # Digests.

    def digests(self, entries: Iterable[Entry]) -> list[Entry]:
        """The same entries, the FILEs among them with their digests."""
        return [
            replace(entry, digest=self.digest(entry.path))
            if entry.kind is Kind.FILE and not entry.digest
            else entry
            for entry in entries
        ]

    def digest(self, path: bytes) -> bytes:
        """The digest (32 bytes) of the file with the real path `path`. Raises HostError."""
        found = self._find(path)
        if found is None:
            raise HostError(f"/{os.fsdecode(path)} is not in the tree")
        index, host, status = found
        entry = self._in_manifest(index, path)
        if entry is not None and entry.kind is Kind.HARDLINK:
            entry = self._in_manifest(index, entry.link)
        if entry is not None and entry.digest:
            return entry.digest
        return _hash(host, status.st_size)

    def directories(self, path: bytes) -> tuple[int, ...]:
        """The layers (0 is the highest) that show something of a directory, highest first."""
        known = self._shown.get(path)
        if known is not None:
            return known
        if not path:
            above: Iterable[int] = range(len(self._roots))
        else:
            above = self.directories(path.rpartition(b"/")[0])
        shown = []
        for index in above:
            host = self._roots[index] + b"/" + path if path else self._roots[index]
            try:
                status = os.lstat(host)
            except (FileNotFoundError, NotADirectoryError):
                if not path:
                    raise _gone(self._ids[index]) from None
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            shown.append(index)
            if is_opaque(host):
                break
        self._shown[path] = tuple(shown)
        return self._shown[path]

    def _find(self, path: bytes) -> tuple[int, bytes, os.stat_result] | None:
        """The layer that shows the path, its file there, and the status of that."""
        for index in self.directories(path.rpartition(b"/")[0]):
            host = self._roots[index] + b"/" + path
            try:
                status = os.lstat(host)
            except (FileNotFoundError, NotADirectoryError):
                continue
            return None if is_whiteout(status) else (index, host, status)
        return None

    def _link(self, path: bytes) -> bytes | None:
        found = self._find(path)
        if found is None or not stat.S_ISLNK(found[2].st_mode):
            return None
        return os.readlink(found[1])

    def _root(self) -> Entry:
        """The root of the highest layer that says something of it; its time is not 0."""
        for index in self.directories(b""):
            status = os.lstat(self._roots[index])
            if status.st_mtime_ns:
                return self._entry(b"", index, self._roots[index], status)
        return _ROOT

    def _entry(self, path: bytes, index: int, host: bytes, status: os.stat_result) -> Entry:
        if not self._is_exact(index):
            known = self._in_manifest(index, path)
            if known is not None:
                return self._unlinked(known, index)
        entry = read_entry(path, host, status)
        if entry is None:  # a socket, which commits remove
            raise HostError(f"{os.fsdecode(host)} is a socket")
        return replace(entry, opaque=False) if entry.opaque else entry

    def _unlinked(self, entry: Entry, index: int) -> Entry:
        """A path on its own: a file where the manifest has a hard link, and nothing opaque."""
        if entry.kind is Kind.HARDLINK:
            file = self._in_manifest(index, entry.link)
            if file is not None:
                return replace(file, path=entry.path, digest=b"")
        return replace(entry, opaque=False, digest=b"")

    def _is_exact(self, index: int) -> bool:
        known = self._exact.get(index)
        if known is None:
            known = self._exact[index] = self._layers.is_exact(self._ids[index])
        return known

    def _in_manifest(self, index: int, path: bytes) -> Entry | None:
        entries = self._layers.manifest(self._ids[index]).entries
        at = bisect.bisect_left(entries, path, key=_path_of)
        return entries[at] if at < len(entries) and entries[at].path == path else None

    def _found(self, path: bytes) -> dict[bytes, tuple[int, bytes, os.stat_result]]:
        """What is in a directory, by name: layer, file and status."""
        names: dict[bytes, tuple[int, bytes, os.stat_result] | None] = {}
        for index in self.directories(path):
            host = self._roots[index] + b"/" + path if path else self._roots[index]
            with os.scandir(host) as found:
                for each in found:
                    if each.name not in names:
                        status = each.stat(follow_symlinks=False)
                        shown = not is_whiteout(status)
                        names[each.name] = (index, each.path, status) if shown else None
        return {name: found for name, found in names.items() if found is not None}

    def _children(self, path: bytes) -> Iterator[tuple[Entry, os.stat_result]]:
        prefix = path + b"/" if path else b""
        for name, (index, host, status) in sorted(self._found(path).items()):
            yield self._entry(prefix + name, index, host, status), status


def _gone(layer: Digest) -> HostError:
    return HostError(
        f"layer {layer} is gone from the store", hint="Build again: what needs it will be redone."
    )


def _path_of(entry: Entry) -> bytes:
    return entry.path


def _linked(first: Entry, entry: Entry) -> Entry:
    return replace(entry, kind=Kind.HARDLINK, link=first.path, size=0, digest=b"", xattrs=())


def _hash(host: bytes, size: int) -> bytes:
    hasher = hashlib.sha256()
    try:
        descriptor = os.open(host, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{os.fsdecode(host)} cannot be read: {error.strerror}") from error
    try:
        hash_content(descriptor, size, hasher)
    finally:
        os.close(descriptor)
    return hasher.digest()
