"""One build a commit, with a cache that keeps everything: lowered and solved as a build is."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn, assert_never

import msgspec

from lamina.advisor.forecast import ForecastStep, Replay, StepName
from lamina.cachekey.key import CacheKey
from lamina.context.gitobjects import Commit
from lamina.context.gittree import GitListings, GitTree
from lamina.control.forecasting.bases import ForecastBases
from lamina.control.forecasting.foresight import Foresight
from lamina.control.forecasting.steps import (
    ForeseenBinder,
    ForeseenCopy,
    ForeseenMakeDir,
    ForeseenRun,
    Watched,
)
from lamina.control.store import Store
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.dockerfile.lower import lower
from lamina.dockerfile.request import Lowered, LoweringRequest
from lamina.errors import InternalError, RemoteError, UserError
from lamina.graph.ops import (
    CopyOp,
    ExecOp,
    HttpOp,
    ImageOp,
    LocalOp,
    MakeDirOp,
    ScratchOp,
)
from lamina.graph.vertex import Vertex
from lamina.layer.entry import Kind
from lamina.layer.stack import Layer, Stack
from lamina.oci.digest import Digest, digest_of
from lamina.oci.platform import host_platform
from lamina.ops.copy import Copy
from lamina.ops.makedir import MakeDir
from lamina.ops.run import Run, Workshop
from lamina.ops.secrets import Secrets
from lamina.ops.sources import Given, Merge
from lamina.ops.stacks import Stacks
from lamina.solver.port import Cached, Direct, Result
from lamina.solver.solver import Solver
from lamina.source import SourceFile
from lamina.trace.recorder import Recorder
from lamina.trace.verdict import Hit, NeverBuilt, Verdict

_MAX_TEXT = 16 << 20
_PLACE = re.compile(r"\[(?:(?P<stage>.+) )? *\d+/\d+\] (?P<text>.*)", re.DOTALL)


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """The Dockerfile that each commit has, at the first of some paths of the repository."""

    paths: tuple[str, ...]


class Same(msgspec.Struct, frozen=True, kw_only=True):
    """The same Dockerfile, and ignore file, for every commit."""

    dockerfile: SourceFile
    ignore: SourceFile | None


Choice = Own | Same


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What all builds have in common. `context` is its path in the repository, b"" for the top."""

    store: Store
    listings: GitListings
    bases: ForecastBases
    foresight: Foresight
    context: bytes
    target: str
    build_args: Mapping[str, str]
    trees: Mapping[str, Result]


class Unbuildable(UserError):
    """A commit that has nothing to build."""


class Replayer:
    """Replays commit after commit, with the cache that the ones before have left."""

    def __init__(self, setting: Setting, choice: Choice) -> None:
        self._setting = setting
        self._choice = choice
        self._memory = _Memory()
        self._memos = _Memos(setting.store)
        self._lowered: dict[SourceFile, Lowered] = {}
        self.git_folder = False
        self.downloads: dict[str, None] = {}

    def replay(self, commit: Commit) -> Replay:
        """Raises HostError where the repository cannot be read."""
        outcomes: dict[Vertex, bool] = {}
        error = ""
        try:
            dockerfile, tree = self._inputs(commit)
            target = self._lower(dockerfile).vertex
            self._solver(tree, outcomes).solve([target])
        except (UserError, RemoteError) as problem:
            line = f"line {problem.span.line}: " if problem.span is not None else ""
            error = f"{line}{problem.message}"
        evidence = self._setting.foresight.evidence
        turns: dict[tuple[str, str], int] = {}
        steps = []
        for vertex, hit in sorted(outcomes.items(), key=_by_line):
            name = _step_name(vertex, turns)
            steps.append(ForecastStep(name=name, hit=hit, seconds=evidence.seconds(vertex)))
        return Replay(steps=tuple(steps), error=error)

    def _inputs(self, commit: Commit) -> tuple[SourceFile, GitTree]:
        """The Dockerfile, and the context as its ignore file leaves it. Raises UserError."""
        listings, context = self._setting.listings, self._setting.context
        whole = GitTree(listings, commit.tree)
        folder = whole.lookup(context)
        if folder is None or folder.kind is not Kind.DIRECTORY:
            raise Unbuildable(f"it has no folder {os.fsdecode(context)}")
        match self._choice:
            case Own(paths=paths):
                dockerfile, ignore = _own_files(whole, paths, context)
            case Same(dockerfile=dockerfile, ignore=ignore):
                pass
            case _:
                assert_never(self._choice)
        top = whole.identity(folder.path)
        if not context:
            top = listings.with_git_folder(top, commit.id)
        if ignore is None:
            tree = GitTree(listings, top)
        else:
            matcher = parse_ignore_file(ignore)
            text = ignore.text.encode("utf-8", "surrogateescape")
            tree = GitTree(listings, top, matcher, ignore_file=ignore.name, ignore_text=text)
        self.git_folder |= not context and tree.lookup(b".git") is not None
        return dockerfile, tree

    def _lower(self, dockerfile: SourceFile) -> Lowered:
        known = self._lowered.get(dockerfile)
        if known is None:
            setting = self._setting
            request = LoweringRequest(
                dockerfile=dockerfile,
                target=setting.target,
                build_args=setting.build_args,
                build_platform=host_platform(os.uname().machine),
                hostname=setting.build_args.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
            )
            known = self._lowered[dockerfile] = lower(request, setting.bases)
        return known

    def _solver(self, tree: GitTree, outcomes: dict[Vertex, bool]) -> Solver:
        return Solver(
            provider=self._provider(tree, outcomes),
            memory=self._memory,
            single_flight=_alone,
            recorder=Recorder(()),
            jobs=1,
        )

    def _provider(
        self, tree: GitTree, outcomes: dict[Vertex, bool]
    ) -> Callable[[Vertex], Direct | Cached]:
        setting, foresight = self._setting, self._setting.foresight
        stacks, workshop = self._stacks(), self._workshop()

        def cached(vertex: Vertex) -> Cached | None:
            based = bool(vertex.inputs) and isinstance(vertex.inputs[0].op, ImageOp)
            match vertex.op:
                case CopyOp() as op:
                    copy = Copy(op, stacks, self._memos, base=based)
                    return ForeseenCopy(op, foresight, copy)
                case MakeDirOp() as op:
                    return ForeseenMakeDir(op, foresight, MakeDir(op, stacks, base=based))
                case ExecOp() as op:
                    return ForeseenRun(Run(op, workshop, base=based), vertex, foresight)
                case _:
                    return None

        def provide(vertex: Vertex) -> Direct | Cached:
            operation = cached(vertex)
            if operation is not None:
                return _watched(vertex, operation, outcomes) if vertex.name else operation
            match vertex.op:
                case ScratchOp():
                    return Given(())
                case ImageOp() as op:
                    return Given(setting.bases.stack(op))
                case LocalOp() as op:
                    return Given(tree if op.name == "context" else setting.trees[op.name])
                case HttpOp() as op:
                    self.downloads[op.url] = None
                    return Given((Layer(id=digest_of(repr(op).encode("utf-8", "replace"))),))
                case _:
                    return Merge()

        return provide

    def _stacks(self) -> Stacks:
        store = self._setting.store
        return Stacks(
            layers=store.layers,
            blobs=store.blobs,
            fetch=lambda layer, progress: _never(),
            recorder=Recorder(()),
            locks="",
        )

    def _workshop(self) -> Workshop:
        setting = self._setting
        binder = ForeseenBinder(
            stacks=self._stacks(), memos=self._memos, foresight=setting.foresight
        )
        return Workshop(
            binder=binder,
            snapshotter=_never,
            executor=_never,
            cache_mounts=setting.store.mounts,
            secrets=Secrets(places={}, environ={}),
            agents=_never,
            log=lambda number: _never(),
        )


class _Memory:
    """A layer cache that begins empty and forgets nothing (solver.port.Memory)."""

    def __init__(self) -> None:
        self._known: dict[Digest, Stack] = {}

    def find(self, key: CacheKey) -> tuple[Stack, Verdict] | None:
        stack = self._known.get(key.digest)
        return None if stack is None else (stack, Hit(record=key.digest))

    def available(self, stack: Stack) -> bool:
        return True

    def why(self, key: CacheKey, locus: str) -> Verdict:
        return NeverBuilt()

    def add(self, key: CacheKey, *, locus: str, name: str, stack: Stack, seconds: float) -> bool:
        self._known[key.digest] = stack
        return False


class _Memos:
    """Knows what the index knows, and writes nothing to it (cache.memos.Memos)."""

    def __init__(self, store: Store) -> None:
        self._index = store.index
        self._known: dict[tuple[str, bytes], bytes] = {}

    def memo(self, kind: str, key: bytes) -> bytes | None:
        return self._known.get((kind, key)) or self._index.memo(kind, key)

    def add_memo(self, kind: str, key: bytes, value: bytes) -> None:
        self._known[kind, key] = value


@contextlib.contextmanager
def _alone(
    key: Digest, *, waiting: Callable[[], None], cancelled: threading.Event
) -> Iterator[None]:
    """Nobody else builds here (solver.port.SingleFlight)."""
    yield


def _watched(vertex: Vertex, operation: Cached, outcomes: dict[Vertex, bool]) -> Cached:
    def looked() -> None:
        outcomes.setdefault(vertex, True)

    def ran() -> None:
        outcomes[vertex] = False

    return Watched(operation, looked, ran)


def _never() -> NoReturn:
    raise InternalError("a forecast runs nothing")


def _step_name(vertex: Vertex, turns: dict[tuple[str, str], int]) -> StepName:
    found = _PLACE.fullmatch(vertex.name)
    stage, text = (found["stage"] or "", found["text"]) if found else ("", vertex.name)
    turn = turns.get((stage, text), 0)
    turns[stage, text] = turn + 1
    return StepName(stage=stage, text=text, turn=turn)


def _by_line(outcome: tuple[Vertex, bool]) -> int:
    span = outcome[0].span
    return span.start if span is not None else 0


def _own_files(
    whole: GitTree, paths: Sequence[str], context: bytes
) -> tuple[SourceFile, SourceFile | None]:
    for path in paths:
        dockerfile = _text(whole, os.fsencode(path))
        if dockerfile is not None:
            general = b"/".join(filter(None, (context, b".dockerignore")))
            ignore = _text(whole, os.fsencode(f"{path}.dockerignore")) or _text(whole, general)
            return dockerfile, ignore
    raise Unbuildable(f"it has no {paths[0]}")


def _text(tree: GitTree, path: bytes) -> SourceFile | None:
    entry = tree.lookup(path)
    if entry is None or entry.kind is not Kind.FILE:
        return None
    name = os.fsdecode(path.rpartition(b"/")[2])
    return SourceFile.decode(name, tree.read(entry.path, most=_MAX_TEXT))
