"""Operations that are not run: their keys are the builder's own, their results are foreseen.

What a COPY or a WORKDIR makes follows from what it is given. What a RUN makes is taken from the
record of a real build where one has this very key; otherwise it is taken to be new wherever its key
is new. So a step whose inputs came out as before stays cached here as it does in a build.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from lamina.cachekey.key import CacheKey
from lamina.context.gittree import GitTree
from lamina.control.forecasting.evidence import Evidence
from lamina.control.forecasting.layers import KnownLayer, Model, UnknownLayer, look
from lamina.control.store import Store
from lamina.errors import HostError
from lamina.graph.ops import CopyOp, InlineSource, MakeDirOp, TreeSource
from lamina.graph.vertex import Vertex
from lamina.layer.entry import Entry, Kind
from lamina.layer.stack import Layer, Stack
from lamina.notation.chmod import parse_mode_change
from lamina.oci.digest import Digest, digest_from, digest_of
from lamina.ops.bind import Binder
from lamina.ops.copy import Copy
from lamina.ops.copying.select import SourceNotFound, select
from lamina.ops.copying.selection import Item, Match, Selection
from lamina.ops.copying.wildcards import split_wildcards
from lamina.ops.makedir import MakeDir
from lamina.ops.run import Run
from lamina.ops.stacks import EMPTY_LAYER, identity
from lamina.solver.port import Cached, Result, Running

_ENCODE = msgspec.msgpack.Encoder().encode


class Foresight:
    """What a forecast knows besides the steps themselves; shared by all its commits."""

    def __init__(self, store: Store, evidence: Evidence) -> None:
        self.evidence = evidence
        self._store = store
        self._models: dict[Digest, Model] = {}
        self._real: dict[Digest, Layer] = {}
        self._selections: dict[object, Selection] = {}

    def model(self, layer: Digest) -> Model:
        """What is known of a layer: foreseen here, or lying in the store."""
        known = self._models.get(layer)
        if known is None:
            known = self._models[layer] = self._stored(layer)
        return known

    def made(self, key: CacheKey, foreseen: Digest, model: Model) -> Layer:
        """The layer of a step that was not run, by its real id where a build has made it.

        A result that was foreseen twice is the same layer both times.
        """
        layer = self._real.get(foreseen)
        if layer is None:
            layer = self.evidence.result(key.digest) or Layer(id=foreseen)
            self._real[foreseen] = layer
            self._models.setdefault(layer.id, model)
        return layer

    def select(self, source: TreeSource, exclude: Sequence[str], result: Result) -> Selection:
        """What a source takes. Raises SourceNotFound where it is certain that nothing is there."""
        if isinstance(result, tuple):
            return self._from_layers(source, exclude, result)
        if not isinstance(result, GitTree):
            return select(result, source, exclude, name=source.path)
        question = _question(source, exclude, result)
        known = self._selections.get(question)
        if known is None:
            known = select(result, source, exclude, name=source.path)
            self._selections[question] = known
        return known

    def _from_layers(self, source: TreeSource, exclude: Sequence[str], stack: Stack) -> Selection:
        question = (identity(stack), source, tuple(exclude))
        known = self._selections.get(question)
        if known is None:
            known = self._selections[question] = self._seen_in(source, exclude, stack)
        return known

    def _seen_in(self, source: TreeSource, exclude: Sequence[str], stack: Stack) -> Selection:
        base, _ = split_wildcards(source.path) if source.wildcards else (source.path.strip("/"), [])
        path = os.fsencode(base)
        sight = look(stack, path, self.model)
        try:
            matches = select(sight.tree, source, exclude, name=source.path).matches
        except SourceNotFound:
            if not sight.unknown:
                raise
            matches = ()
        if sight.unknown:
            matches = (*matches, _unknown(path, sight.unknown))
        return Selection(source, sight.tree, matches)

    def _stored(self, layer: Digest) -> Model:
        if layer == EMPTY_LAYER:
            return KnownLayer(make=tuple)
        try:
            if self._store.layers.has(layer):
                entries = self._store.layers.manifest(layer).entries
                return KnownLayer(make=lambda: entries)
        except HostError:
            pass
        return UnknownLayer(places=lambda: None)


class ForeseenCopy(Copy):
    """COPY and ADD."""

    def __init__(self, op: CopyOp, foresight: Foresight, parent: Copy) -> None:
        super().__init__(op, parent.stacks, parent.memos, base=parent.base)
        self._foresight = foresight

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        below = inputs[0]
        assert isinstance(below, tuple)
        taken = [
            self._select(source, inputs[source.input]) if isinstance(source, TreeSource) else source
            for source in self.op.sources
        ]
        matches = [m for each in taken if isinstance(each, Selection) for m in each.matches]
        if not matches and not any(isinstance(each, InlineSource) for each in taken):
            return (*below, Layer(id=EMPTY_LAYER))
        dest = os.fsencode(self.op.dest)
        foresight = self._foresight
        there = look(below, dest.strip(b"/"), foresight.model).tree.lookup(dest)
        is_directory = there is not None and there.kind is Kind.DIRECTORY
        named = dest.endswith(b"/") or is_directory
        if (
            is_directory
            and all(_is_empty(match) for match in matches)
            and len(matches) == len(taken)
        ):
            return (*below, Layer(id=EMPTY_LAYER))
        top = there.path if there is not None else dest.strip(b"/")
        foreseen = _digest(self.op, taken, named=named)
        layer = foresight.made(self.key(inputs), foreseen, self._model(taken, top, named=named))
        return (*below, layer)

    def _model(
        self, taken: Sequence[Selection | InlineSource], top: bytes, *, named: bool
    ) -> Model:
        unpacked = any(
            isinstance(source, TreeSource) and source.unpack for source in self.op.sources
        )
        unknown = any(_holds_unknown(each) for each in taken)
        if unknown or (unpacked and any(map(_may_be_archive, taken))):
            return UnknownLayer(places=lambda: (top,))
        op = self.op
        return KnownLayer(
            make=lambda: _placed(op, taken, top, named=named),
            top=top,
            find=lambda path: _found(taken, top, path, named=named),
        )

    def _select(self, source: TreeSource, result: Result) -> Selection:
        return self._foresight.select(source, self.op.exclude, result)


class ForeseenMakeDir(MakeDir):
    """WORKDIR."""

    def __init__(self, op: MakeDirOp, foresight: Foresight, parent: MakeDir) -> None:
        super().__init__(op, parent.stacks, base=parent.base)
        self._foresight = foresight

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        below = inputs[0]
        assert isinstance(below, tuple)
        op, path = self.op, os.fsencode(self.op.path).strip(b"/")
        there = look(below, path, self._foresight.model).tree.lookup(path)
        if there is not None and there.kind is Kind.DIRECTORY:
            return (*below, Layer(id=EMPTY_LAYER))
        entry = Entry(path=path, kind=Kind.DIRECTORY, mode=op.mode)
        model = KnownLayer(make=lambda: (*_above(path), entry), top=path)
        foreseen = digest_of(f"forecast: WORKDIR {op.path} {op.mode} {op.owner}".encode())
        return (*below, self._foresight.made(self.key(inputs), foreseen, model))


class ForeseenBinder(Binder, frozen=True):
    """Bind mounts, as far as they are part of a key."""

    foresight: Foresight

    def _subtree(self, path: str, source: Stack) -> str:
        return self.foresight.select(TreeSource(input=0, path=path), (), source).digest


class ForeseenRun(Cached):
    """RUN."""

    def __init__(self, operation: Run, vertex: Vertex, foresight: Foresight) -> None:
        self._operation = operation
        self._vertex = vertex
        self._foresight = foresight

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        return self._operation.key(inputs)

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        below = inputs[0]
        assert isinstance(below, tuple)
        key, evidence, vertex = self.key(inputs), self._foresight.evidence, self._vertex
        real = evidence.result(key.digest) or evidence.constant(vertex)
        if real is not None:
            return (*below, real)
        foreseen = digest_of(f"forecast: what comes of {key.digest}".encode())
        model = UnknownLayer(places=lambda: evidence.places(vertex), covering=True)
        return (*below, self._foresight.made(key, foreseen, model))


class Watched(Cached):
    """Tells `ran` of a step that was not cached."""

    def __init__(
        self, operation: Cached, looked: Callable[[], None], ran: Callable[[], None]
    ) -> None:
        self._operation = operation
        self._looked = looked
        self._ran = ran

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        found = self._operation.key(inputs)
        self._looked()
        return found

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        self._ran()
        return self._operation.run(inputs, running)


# What a COPY makes


def _question(source: TreeSource, exclude: Sequence[str], tree: GitTree) -> object:
    """What decides a selection: of a path without wildcards what is there, else the whole tree."""
    path = b""
    if not source.include:
        base, patterns = split_wildcards(source.path)
        entry = tree.lookup(os.fsencode(base)) if not patterns else None
        path = entry.path if entry is not None else b""
    return source, tuple(exclude), tree.ignore_name, path, tree.identity(path)


def _unknown(path: bytes, layers: Sequence[Digest]) -> Match:
    """Files that nobody can list: another one where the layers are others."""
    digest = hashlib.sha256("\n".join(layers).encode()).digest()
    entry = Entry(path=path, kind=Kind.FIFO, digest=digest)
    return Match(name=b"", entry=entry, items=(Item(b"", entry),))


def _holds_unknown(taken: Selection | InlineSource) -> bool:
    return isinstance(taken, Selection) and any(
        match.entry.kind is Kind.FIFO and match.entry.digest for match in taken.matches
    )


def _may_be_archive(taken: Selection | InlineSource) -> bool:
    return isinstance(taken, Selection) and any(
        match.entry.kind is Kind.FILE and _ARCHIVE in match.name for match in taken.matches
    )


_ARCHIVE = b".t"  # .tar, .tar.gz, .tgz, .txz …


def _is_empty(match: Match) -> bool:
    return match.entry.kind is Kind.DIRECTORY and not match.items


def _digest(op: CopyOp, taken: Sequence[Selection | InlineSource], *, named: bool) -> Digest:
    """Equal where a COPY places the same files. `named`: files keep their own names."""
    facts = [_facts(each, named=named) for each in taken]
    unpack = [source.unpack for source in op.sources if isinstance(source, TreeSource)]
    row = (op.dest.rstrip("/"), op.chown, op.chmod, op.epoch, named, any(unpack), facts)
    return digest_from(hashlib.sha256(b"forecast: COPY\n" + _ENCODE(row)).digest())


def _facts(taken: Selection | InlineSource, *, named: bool) -> object:
    if isinstance(taken, InlineSource):
        return taken.name if named else "", digest_of(taken.content)
    if named or all(match.entry.kind is Kind.DIRECTORY for match in taken.matches):
        return taken.digest
    unnamed = tuple(replace(match, name=b"") for match in taken.matches)
    return Selection(taken.source, taken.tree, unnamed).digest


def _placed(
    op: CopyOp, taken: Sequence[Selection | InlineSource], top: bytes, *, named: bool
) -> list[Entry]:
    """The entries that a COPY makes. Owners that are names have numbers that stand for them."""
    change = parse_mode_change(op.chmod)
    owner = _number(op.chown) if op.chown else None
    found: dict[bytes, Entry] = {entry.path: entry for entry in _above(top)}

    def put(entry: Entry, path: bytes) -> None:
        mode = entry.mode
        if entry.kind is not Kind.SYMLINK:
            mode = change.apply(mode, is_directory=entry.kind is Kind.DIRECTORY)
        uid = entry.uid if owner is None else owner
        gid = entry.gid if owner is None else owner
        found[path] = replace(entry, path=path, mode=mode, uid=uid, gid=gid)

    for each in taken:
        if isinstance(each, InlineSource):
            content = hashlib.sha256(each.content).digest()
            entry = Entry(path=b"", kind=Kind.FILE, mode=0o644, digest=content)
            put(entry, _join(top, os.fsencode(each.name)) if named else top)
            continue
        for match in each.matches:
            is_directory = match.entry.kind is Kind.DIRECTORY
            place = top if is_directory or not named else _join(top, match.name)
            if is_directory or named:
                found.setdefault(top, Entry(path=top, kind=Kind.DIRECTORY, mode=0o755))
            for item in match.items:
                put(item.entry, _join(place, item.target))
    found.pop(b"", None)
    return list(found.values())


def _found(
    taken: Sequence[Selection | InlineSource], top: bytes, path: bytes, *, named: bool
) -> Entry | None:
    """What a COPY puts at a path, as it is in the source: its kind is what counts."""
    for each in reversed(taken):
        if isinstance(each, InlineSource):
            if path == (_join(top, os.fsencode(each.name)) if named else top):
                return Entry(path=path, kind=Kind.FILE)
            continue
        for match in reversed(each.matches):
            is_directory = match.entry.kind is Kind.DIRECTORY
            place = top if is_directory or not named else _join(top, match.name)
            start = place + b"/" if place else b""
            if path == place or not path.startswith(start):
                if path == place:
                    return match.entry
                continue
            target = path[len(start) :]
            found = next((item.entry for item in match.items if item.target == target), None)
            if found is not None:
                return found
    return None


def _above(path: bytes) -> list[Entry]:
    """The folders on the way to a path."""
    parts = path.split(b"/")[:-1]
    paths = [b"/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return [Entry(path=each, kind=Kind.DIRECTORY, mode=0o755) for each in paths]


def _join(folder: bytes, name: bytes) -> bytes:
    return b"/".join(filter(None, (folder, name.strip(b"/"))))


def _number(owner: str) -> int:
    if owner.isdecimal():
        return int(owner)
    return int.from_bytes(hashlib.sha256(owner.encode("utf-8", "surrogateescape")).digest()[:4])
