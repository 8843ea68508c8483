"""`lamina forecast`: what the cache would have done over the history of a repository.

Every commit is built as `lamina build` would, from git's objects alone: its Dockerfile is lowered,
its keys are computed by the operations themselves, and looked up among those of the commits before
it. No step is run, and no other machine is asked.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from lamina.advisor.forecast import Forecast, ForecastCommit
from lamina.context.gitobjects import GitObjects, GitRepository, open_repository
from lamina.context.gittree import GitListings
from lamina.context.statindex import StatIndex
from lamina.context.tree import ContextTree
from lamina.control.forecasting.bases import ForecastBases
from lamina.control.forecasting.evidence import Evidence
from lamina.control.forecasting.foresight import Foresight
from lamina.control.forecasting.replay import Choice, Own, Replayer, Same, Setting
from lamina.control.request import BuildRequest, OutputRequest
from lamina.control.store import open_store
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.errors import UserError
from lamina.solver.port import Result
from lamina.source import SourceFile
from lamina.trace.recorder import Watcher

_MAX_FILE = 16 << 20
_NAMED = 3  # things of a kind that a note names

Watch = Callable[[], contextlib.AbstractContextManager[Watcher]]
"""Opens the view of a build."""


class ForecastRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `lamina forecast` was given.

    `build` holds the context, the Dockerfile, the target and the arguments of the builds. At most
    one of `fix` and `other` (the path of a Dockerfile) says what to compare with. `calibrate`
    builds what lies in the context once, to learn how long its steps take.
    """

    build: BuildRequest
    commits: int
    fix: bool = False
    unsafe: bool = False
    other: str | None = None
    calibrate: bool = False


class _Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where the Dockerfile is: `now` on disk ("" where it is not), `paths` in commits, the first
    that is there.
    """

    context: str
    now: str
    paths: tuple[str, ...]


class _Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The Dockerfiles to replay, and how to call them."""

    before: Choice
    after: Choice | None = None
    named: tuple[str, str] = ("", "")


def forecast(
    request: ForecastRequest,
    *,
    root: str,
    environ: Mapping[str, str],
    stdin: BinaryIO,
    watch: Watch,
) -> Forecast:
    """Raises UserError (also where there is no git, or no repository), HostError; with `calibrate`
    what a build raises, which `watch` shows.
    """
    build = request.build
    repository = open_repository(build.context)
    commits = repository.commits(most=request.commits)
    places = _places(build, repository)
    compared = _compared(request, places)
    if request.calibrate:
        _calibrate(build, compared, root=root, environ=environ, stdin=stdin, watch=watch)
    store = open_store(root, environ)
    with contextlib.ExitStack() as held:
        objects = held.enter_context(GitObjects(repository))
        setting = Setting(
            store=store,
            listings=GitListings(objects),
            bases=ForecastBases(store, build.named_contexts),
            foresight=Foresight(store, Evidence(store, os.path.realpath(build.context))),
            context=os.fsencode(_inside(repository, build.context)),
            target=build.target,
            build_args=build.build_args,
            trees=dict(_named_trees(build, held)),
        )
        before = Replayer(setting, compared.before)
        after = Replayer(setting, compared.after) if compared.after is not None else None
        found = []
        for commit in commits:
            replayed = ForecastCommit(
                id=commit.id,
                time=commit.time,
                subject=commit.subject,
                before=before.replay(commit),
                after=after.replay(commit) if after is not None else None,
            )
            found.append(replayed)
    made = Forecast(
        asked=request.commits,
        before=compared.named[0],
        after=compared.named[1],
        commits=tuple(found),
    )
    if not made.counted():
        last = made.commits[-1]
        error = last.before.error or (last.after.error if last.after is not None else "")
        raise UserError(
            f"none of the last {len(found)} commits would build; the latest one: {error}",
            hint="see -C, -f and --target",
        )
    replayers = (before,) if after is None else (before, after)
    notes = _Notes(made, repository, setting, replayers, request)
    return replace(made, notes=tuple(notes.all()))


def _inside(repository: GitRepository, path: str) -> str:
    """A path relative to the repository's top, "" for that. Raises UserError for one outside."""
    inner = os.path.relpath(os.path.realpath(path), repository.top)
    if inner == ".." or inner.startswith("../"):
        raise UserError(f"{path} is outside of the repository {repository.top}")
    return "" if inner == "." else inner


def _places(build: BuildRequest, repository: GitRepository) -> _Places:
    context = build.context
    wanted = [build.dockerfile] if build.dockerfile else ["Dockerfile", "dockerfile"]
    candidates = [os.path.join(context, name) for name in wanted]
    if build.dockerfile:
        candidates.insert(0, build.dockerfile)
    now = next((path for path in candidates if os.path.isfile(path)), "")
    paths = []
    named = now and build.dockerfile
    for path in [now] if named else candidates:
        with contextlib.suppress(UserError):
            # The file may be a symlink: it is followed in each commit, and not here.
            folder, name = os.path.split(path)
            paths.append(os.path.join(_inside(repository, folder or "."), name))
    return _Places(context=context, now=now, paths=tuple(dict.fromkeys(paths)))


def _compared(request: ForecastRequest, places: _Places) -> _Compared:
    if not request.fix and request.other is None:
        if not places.paths:
            raise UserError(
                f"{request.build.dockerfile} is outside of the repository: no commit has it",
                hint="compare it with today's Dockerfile: --dockerfile FILE",
            )
        return _Compared(before=Own(paths=places.paths), named=("each commit's own Dockerfile", ""))
    if not places.now:
        name = request.build.dockerfile or "Dockerfile"
        raise UserError(f"there is no {name} in {places.context} to compare with")
    dockerfile, ignore = _read(places.now), _ignore_file(places.now, places.context)
    before = Same(dockerfile=dockerfile, ignore=ignore)
    shown = f"today's {dockerfile.name}"
    if request.other is not None:
        other = _ignore_file(request.other, places.context)
        after = Same(dockerfile=_read(request.other), ignore=other)
        return _Compared(before=before, after=after, named=(shown, request.other))
    fixed = _fixed(places, unsafe=request.unsafe)
    if fixed == before:
        raise UserError(
            f"lamina fix finds nothing to mend in {places.now}: there is nothing to compare with",
            hint=None if request.unsafe else "--unsafe also takes fixes that may change the image",
        )
    return _Compared(before=before, after=fixed, named=(shown, f"{shown} after lamina fix"))


def _fixed(places: _Places, *, unsafe: bool) -> Same:
    from lamina.control.check import fix

    [mended] = fix([places.now], context=places.context, unsafe=unsafe)
    sources = mended.fixed.project.sources
    name = os.path.basename(sources.dockerfile.name)
    ignore = sources.ignore
    return Same(
        dockerfile=SourceFile(name, sources.dockerfile.text),
        ignore=SourceFile(os.path.basename(ignore.name), ignore.text) if ignore else None,
    )


def _ignore_file(dockerfile: str, context: str) -> SourceFile | None:
    own, general = f"{dockerfile}.dockerignore", os.path.join(context, ".dockerignore")
    return next((_read(path) for path in (own, general) if os.path.isfile(path)), None)


def _read(path: str) -> SourceFile:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise UserError(f"failed to read {path}: {error.strerror}") from None
    if len(data) > _MAX_FILE:
        raise UserError(f"{path} is larger than {_MAX_FILE >> 20} MiB")
    return SourceFile.decode(os.path.basename(path), data)


def _named_trees(build: BuildRequest, held: contextlib.ExitStack) -> Iterator[tuple[str, Result]]:
    """Other contexts that are folders count as they are now."""
    for name, path in build.named_contexts.items():
        if os.path.isdir(path):
            ignore = f"{path}/.dockerignore"
            matcher = parse_ignore_file(_read(ignore)) if os.path.isfile(ignore) else None
            yield name, held.enter_context(ContextTree(path, matcher, StatIndex(None)))


def _calibrate(
    build: BuildRequest,
    compared: _Compared,
    *,
    root: str,
    environ: Mapping[str, str],
    stdin: BinaryIO,
    watch: Watch,
) -> None:
    """Build what lies in the context, with every Dockerfile that is to be replayed."""
    import tempfile

    from lamina.control.build import run_build

    requests = [build]
    with tempfile.TemporaryDirectory(prefix="lamina-") as folder:
        if isinstance(compared.after, Same):
            path = os.path.join(folder, compared.after.dockerfile.name)
            _write(path, compared.after.dockerfile)
            if compared.after.ignore is not None:
                _write(f"{path}.dockerignore", compared.after.ignore)
            requests.append(replace(build, dockerfile=path))
        for request in requests:
            with watch() as watcher:
                run_build(
                    replace(request, outputs=(OutputRequest(type="cacheonly"),), no_cache=True),
                    root=root,
                    watchers=(watcher,),
                    environ=environ,
                    stdin=stdin,
                    stdout=io.BytesIO(),
                )


def _write(path: str, source: SourceFile) -> None:
    with open(path, "wb") as file:
        file.write(source.text.encode("utf-8", "surrogateescape"))


class _Notes(msgspec.Struct, frozen=True):
    """What the forecast does not know, in sentences."""

    forecast: Forecast
    repository: GitRepository
    setting: Setting
    replayers: tuple[Replayer, ...]
    request: ForecastRequest

    def all(self) -> Iterator[str]:
        yield from self._history()
        yield from self._failed()
        yield from self._surroundings()
        yield from self._times()
        yield (
            "not known: whether base images moved, what RUN steps fetch from the network or keep "
            "in cache mounts, and whether a RUN step that runs again makes the same files; it is "
            "taken to make others, unless builds on this machine have shown what it makes"
        )

    def _history(self) -> Iterator[str]:
        count = len(self.forecast.commits)
        if count < self.request.commits:
            why = "the clone is shallow: " if self.repository.shallow else ""
            there = "is 1 commit" if count == 1 else f"are {count} commits"
            asked = self.request.commits
            yield f"{why}there {there} along the first parents, {asked} were asked for"

    def _failed(self) -> Iterator[str]:
        failed = [commit for commit in self.forecast.commits if not commit.counts]
        for commit in failed[:_NAMED]:
            which = "" if commit.before.error or commit.after is None else "afterwards "
            error = commit.before.error or (commit.after.error if commit.after else "")
            yield f"left out: {commit.id[:10]} would {which}not build: {error}"
        if len(failed) > _NAMED:
            yield f"left out: {len(failed) - _NAMED} more commits that would not build"

    def _surroundings(self) -> Iterator[str]:
        missing = tuple(self.setting.bases.missing)
        if missing:
            yield (
                f"not in the local store: {_listed(missing)}; taken to stay the same, with nothing "
                f"known of its environment, folders and ONBUILD triggers (lamina pull {missing[0]})"
            )
        if any(each.git_folder for each in self.replayers):
            yield ".git goes to the build, and is another one in every commit"
        submodules = [os.fsdecode(path) for path in sorted(self.setting.listings.submodules)]
        if submodules:
            yield f"submodules count by the commits that they name: {_listed(submodules)}"
        downloads = tuple(dict.fromkeys(url for each in self.replayers for url in each.downloads))
        if downloads:
            yield f"downloads are taken to stay the same: {_listed(downloads)}"

    def _times(self) -> Iterator[str]:
        totals = [self.forecast.total(after=False), self.forecast.total(after=True)]
        unknown, misses = (sum(getattr(t, name) for t in totals) for name in ("unknown", "misses"))
        if unknown:
            yield (
                f"no build has recorded how long {unknown} of {misses} missed steps take"
                + ("" if self.request.calibrate else " (--calibrate builds once to learn it)")
            )


def _listed(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
