"""What a COPY puts where, without its files: the model of the layer that it makes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from lamina.control.forecasting.layers import KnownLayer, Model, UnknownLayer
from lamina.graph.ops import CopyOp, InlineSource, TreeSource
from lamina.layer.entry import Entry, Kind
from lamina.notation.chmod import parse_mode_change
from lamina.oci.digest import Digest, digest_from, digest_of
from lamina.ops.copying.selection import Item, Match, Selection

_ENCODE = msgspec.msgpack.Encoder().encode
_ARCHIVE = b".t"  # .tar, .tar.gz, .tgz, .txz …


class Placing(msgspec.Struct, frozen=True, kw_only=True):
    """A COPY and what it takes, in the order of its sources. `top` is the path that it leads to;
    `named`: that is a folder, in which files keep their own names.
    """

    op: CopyOp
    taken: tuple[Selection | InlineSource, ...]
    top: bytes
    named: bool

    def is_nothing(self) -> bool:
        """Whether no file is taken, and no folder."""
        return not any(isinstance(each, InlineSource) or each.matches for each in self.taken)

    def is_empty(self) -> bool:
        """Whether nothing but empty folders is taken: what is in them goes nowhere."""
        return not any(isinstance(each, InlineSource) for each in self.taken) and all(
            match.entry.kind is Kind.DIRECTORY and not match.items for match in self._matches()
        )

    def model(self) -> Model:
        """What is known of the layer."""
        if any(_is_unknown(match) for match in self._matches()) or self._may_unpack():
            return UnknownLayer(places=lambda: (self.top,))
        weight = sum(len(match.items) for match in self._matches())
        return KnownLayer(make=self._entries, top=self.top, find=self._find, weight=weight)

    def digest(self) -> Digest:
        """Equal where the same files are placed, wherever they were taken from."""
        facts = [self._facts(each) for each in self.taken]
        unpack = any(isinstance(each, TreeSource) and each.unpack for each in self.op.sources)
        row = (self.top, self.named, self.op.chown, self.op.chmod, self.op.epoch, unpack, facts)
        return digest_from(hashlib.sha256(b"forecast: COPY\n" + _ENCODE(row)).digest())

    def _facts(self, taken: Selection | InlineSource) -> object:
        if isinstance(taken, InlineSource):
            return taken.name if self.named else "", digest_of(taken.content)
        if self.named or all(match.entry.kind is Kind.DIRECTORY for match in taken.matches):
            return taken.digest
        unnamed = tuple(replace(match, name=b"") for match in taken.matches)
        return Selection(taken.source, taken.tree, unnamed).digest

    def _matches(self) -> Iterator[Match]:
        for each in self.taken:
            if isinstance(each, Selection):
                yield from each.matches

    def _may_unpack(self) -> bool:
        """Whether an ADD may unpack an archive, by its name."""
        unpack = any(isinstance(each, TreeSource) and each.unpack for each in self.op.sources)
        return unpack and any(
            match.entry.kind is Kind.FILE and _ARCHIVE in match.name for match in self._matches()
        )

    def _entries(self) -> list[Entry]:
        """Everything that is placed. Owners that are names have numbers that stand for them."""
        change = parse_mode_change(self.op.chmod)
        owner = _number(self.op.chown) if self.op.chown else None
        found = {entry.path: entry for entry in folders_above(self.top)}

        def put(entry: Entry, path: bytes) -> None:
            mode = entry.mode
            if entry.kind is not Kind.SYMLINK:
                mode = change.apply(mode, is_directory=entry.kind is Kind.DIRECTORY)
            uid = entry.uid if owner is None else owner
            gid = entry.gid if owner is None else owner
            found[path] = replace(entry, path=path, mode=mode, uid=uid, gid=gid)

        for each in self.taken:
            if isinstance(each, InlineSource):
                put(_inline(each), self._place(os.fsencode(each.name)))
                continue
            for match in each.matches:
                place = self._place_of(match)
                if self.named or match.entry.kind is Kind.DIRECTORY:
                    folder = Entry(path=self.top, kind=Kind.DIRECTORY, mode=0o755)
                    found.setdefault(self.top, folder)
                for item in match.items:
                    put(item.entry, _join(place, item.target))
        found.pop(b"", None)
        return list(found.values())

    def _find(self, path: bytes) -> Entry | None:
        """What is placed at a path, as it is in the source: its kind is what counts."""
        for each in reversed(self.taken):
            if isinstance(each, InlineSource):
                if path == self._place(os.fsencode(each.name)):
                    return _inline(each)
                continue
            for match in reversed(each.matches):
                found = self._find_in(match, path)
                if found is not None:
                    return found
        if self.top == path or self.top.startswith(path + b"/"):
            return Entry(path=path, kind=Kind.DIRECTORY, mode=0o755)
        return None

    def _find_in(self, match: Match, path: bytes) -> Entry | None:
        place = self._place_of(match)
        if path == place:
            return match.entry
        start = place + b"/" if place else b""
        if not path.startswith(start):
            return None
        target = path[len(start) :]
        return next((item.entry for item in match.items if item.target == target), None)

    def _place_of(self, match: Match) -> bytes:
        return self.top if match.entry.kind is Kind.DIRECTORY else self._place(match.name)

    def _place(self, name: bytes) -> bytes:
        """Where a file goes."""
        return _join(self.top, name) if self.named else self.top


def unknown_files(path: bytes, layers: Sequence[Digest]) -> Match:
    """Files that nobody can list: other ones where the layers that may hold them are others."""
    digest = hashlib.sha256("\n".join(layers).encode()).digest()
    entry = Entry(path=path, kind=Kind.FIFO, digest=digest)
    return Match(name=b"", entry=entry, items=(Item(b"", entry),))


def _is_unknown(match: Match) -> bool:
    return match.entry.kind is Kind.FIFO and bool(match.entry.digest)


def folders_above(path: bytes) -> list[Entry]:
    """The folders on the way to a path."""
    parts = path.split(b"/")[:-1]
    paths = [b"/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return [Entry(path=each, kind=Kind.DIRECTORY, mode=0o755) for each in paths]


def _inline(source: InlineSource) -> Entry:
    content = hashlib.sha256(source.content).digest()
    return Entry(path=b"", kind=Kind.FILE, mode=0o644, digest=content)


def _join(folder: bytes, name: bytes) -> bytes:
    return b"/".join(filter(None, (folder, name.strip(b"/"))))


def _number(owner: str) -> int:
    if owner.isdecimal():
        return int(owner)
    return int.from_bytes(hashlib.sha256(owner.encode("utf-8", "surrogateescape")).digest()[:4])
