"""COPY instructions that serve one RUN alone, in a stage whose files nobody gets to see.

Mounted instead, the files are in no layer. A mount cannot be written to, so the RUN has to be one
that is known to read only; and what stands below must not miss the files.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

import msgspec

from lamina.advisor.mounts import mounts_of, related, within
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, lineage, walk
from lamina.advisor.tools.recognition import Use, calls, uses
from lamina.advisor.tools.table import TOOLS
from lamina.dockerfile.instructions.commands import (
    AddCommand,
    CopyCommand,
    OnbuildCommand,
    RunCommand,
    VolumeCommand,
)

_PLAIN = re.compile(r"[\w./@+-]+")
_LIST = re.compile(r"(?:requirements|constraints)[\w.-]*\.txt")
_BESIDE = frozenset(("mkdir", "echo", "true", "set", "export"))


class Replaceable(msgspec.Struct, frozen=True, kw_only=True):
    """A COPY, the RUN that it serves, and the mounts that do the same for it."""

    copy: Place
    run: Place
    flags: tuple[str, ...]


def replaceable(project: Project) -> Iterator[Replaceable]:
    """Every COPY that could be a bind mount, the last ones first where several serve one RUN."""
    for place in walk(project):
        if isinstance(place.command, CopyCommand) and _thrown_away(project, place.number):
            found = _manifests(project, place) or _sources(project, place)
            if found is not None:
                yield found


def _manifests(project: Project, place: Place) -> Replaceable | None:
    """Manifests and lock files, for a command that only reads them."""
    command = place.command
    assert isinstance(command, CopyCommand)
    paths = _destinations(place)
    run = _next_run(project, place)
    if run is None or not paths or not all(_is_manifest(path) for path in paths):
        return None
    if run.state.cwd is None or run.state.cwd != place.state.cwd or not _reads_only(run):
        return None
    if not _gone_later(project, place, run, tuple(paths.values())):
        return None
    flags = tuple(
        f"--mount=type=bind,source={source},target={_short(target, run.state.cwd)}"
        for source, target in paths.items()
    )
    return Replaceable(copy=place, run=run, flags=flags)


def _sources(project: Project, place: Place) -> Replaceable | None:
    """The whole source, for a compiler that writes somewhere else."""
    command = place.command
    assert isinstance(command, CopyCommand)
    run = _next_run(project, place)
    dest = place.state.expand(command.dest)
    target = place.state.path(dest) if dest is not None else None
    if run is None or not _is_plain(command) or command.sources not in ((".",), ("./",)):
        return None
    if target in (None, "/") or target != run.state.cwd or not _compiles_elsewhere(run, target):
        return None
    if _runs_between(project, run, None) or not _unread(project, place.number, (target,)):
        return None
    return Replaceable(copy=place, run=run, flags=("--mount=type=bind,target=.",))


def _thrown_away(project: Project, number: int) -> bool:
    """Whether a stage is neither the last, nor one that another goes on from."""
    last = len(project.dockerfile.stages) - 1
    above = range(number + 1, last + 1)
    based = any(number in lineage(project, other) for other in above)
    return number != last and not based and project.dockerfile.error is None


def _is_plain(command: CopyCommand) -> bool:
    flags = (command.from_, command.chown, command.chmod, command.exclude, command.contents)
    return not any(flags) and not command.parents


def _destinations(place: Place) -> dict[str, str]:
    """Where every file of a COPY lands: source → absolute path; nothing where that is unknown."""
    command = place.command
    assert isinstance(command, CopyCommand)
    dest = place.state.expand(command.dest)
    folder = place.state.path(dest) if dest is not None else None
    if folder is None or dest is None or not _is_plain(command):
        return {}
    into = dest.endswith("/") or dest in (".", "./") or len(command.sources) > 1
    found = {}
    for source in command.sources:
        name = source.removeprefix("./").lstrip("/")
        if _PLAIN.fullmatch(name) is None or name.endswith("/"):
            return {}
        found[name] = posixpath.join(folder, posixpath.basename(name)) if into else folder
    return found


def _is_manifest(path: str) -> bool:
    name = posixpath.basename(path)
    known = {one for tool in TOOLS for one in (*tool.manifests, *tool.locks)}
    return name in known or _LIST.fullmatch(name) is not None


def _next_run(project: Project, place: Place) -> Place | None:
    for other in _following(project, place):
        if isinstance(other.command, RunCommand):
            return other if other.run is not None and other.run.whole else None
        if isinstance(other.command, OnbuildCommand | VolumeCommand):
            return None
    return None


def _following(project: Project, place: Place) -> Iterator[Place]:
    for other in walk(project):
        if other.number == place.number and other.index > place.index:
            yield other


def _reads_only(run: Place) -> bool:
    """Whether a RUN is nothing but commands that read their manifests and leave them alone."""
    assert run.run is not None
    found = {use.call.invocation.start: use for use in uses(run.run, run.state, TOOLS)}
    seen = [call.invocation.start for call in calls(run.run, run.state)]
    others = [
        call.program
        for call in calls(run.run, run.state)
        if call.invocation.start not in found or not _only_reads(found[call.invocation.start])
    ]
    return bool(found) and bool(seen) and all(name in _BESIDE for name in others)


def _only_reads(use: Use) -> bool:
    call, verb = use.call, " ".join(use.verb)
    match use.tool.name:
        case "npm":
            return verb in ("ci", "clean-install")
        case "pip":
            words = call.arguments(
                (*use.tool.valued, "-r", "--requirement", "-c", "-t", "--target")
            )
            listed = call.has(("-r", "--requirement")) is not None
            return listed and not any(word in (".", "./") for word in words)
        case "uv" if verb == "sync":
            locked = call.has(("--locked", "--frozen")) is not None
            return locked and call.has(("--no-install-project",)) is not None
        case "go":
            return verb == "mod download"
        case "yarn" | "bun":
            return call.has(("--frozen-lockfile", "--immutable")) is not None
        case "pnpm":
            return verb in ("install", "i") and call.has(("--frozen-lockfile",)) is not None
    return False


def _compiles_elsewhere(run: Place, folder: str) -> bool:
    assert run.run is not None
    found = [*uses(run.run, run.state, TOOLS)]
    programs = [call.program for call in calls(run.run, run.state)]
    if len(found) != 1 or [name for name in programs if name not in _BESIDE] != ["go"]:
        return False
    use = found[0]
    words = [word.value for word in use.call.words]
    if use.verb != ("build",) or "-o" not in words[:-1]:
        return False
    output = words[words.index("-o") + 1]
    path = run.state.path(output) if output is not None else None
    return path is not None and not within(path, folder)


def _gone_later(project: Project, copy: Place, run: Place, paths: Sequence[str]) -> bool:
    """Whether nothing below the RUN misses the files: they come again, or nobody looks."""
    again = next(
        (other for other in _following(project, run) if _brings_all(other, copy, paths)), None
    )
    if _runs_between(project, run, again):
        return False
    return again is not None or _unread(project, copy.number, paths)


def _brings_all(place: Place, copy: Place, paths: Sequence[str]) -> bool:
    """Whether a later `COPY . .` brings the same files to the same places."""
    command = place.command
    if not isinstance(command, CopyCommand) or not _is_plain(command):
        return False
    dest = place.state.expand(command.dest)
    folder = place.state.path(dest) if dest is not None else None
    whole = command.sources in ((".",), ("./",))
    same = _destinations(copy)
    return whole and all(
        posixpath.join(folder or "", source) == path
        for source, path in same.items()
        if path in paths
    )


def _runs_between(project: Project, run: Place, until: Place | None) -> bool:
    """Whether anything runs, or adds files from elsewhere, below a RUN and above `until`."""
    return any(
        isinstance(other.command, RunCommand | OnbuildCommand | AddCommand)
        for other in _following(project, run)
        if until is None or other.index < until.index
    )


def _unread(project: Project, number: int, paths: Sequence[str]) -> bool:
    """Whether no other stage takes these files out of this one."""
    stage = project.dockerfile.stages[number]
    names = {str(number), *((stage.name.lower(),) if stage.name else ())}
    for place in walk(project):
        command = place.command
        if isinstance(command, CopyCommand) and command.from_.lower() in names:
            sources = [place.state.expand(source) for source in command.sources]
            if any(s is None or _takes(s, paths) for s in sources):
                return False
        elif place.number != number and place.run is not None:
            mounts = mounts_of(project.dockerfile, place)
            if any(mount.flag.from_.lower() in names for mount in mounts):
                return False
    return True


def _takes(source: str, paths: Sequence[str]) -> bool:
    fixed = re.split(r"[*?\[]", "/" + source.lstrip("/"))[0]
    return any(related(posixpath.normpath(fixed), path) for path in paths)


def _short(target: str, cwd: str) -> str:
    """Relative to WORKDIR where it lies in it."""
    return posixpath.relpath(target, cwd) if within(target, cwd) else target
