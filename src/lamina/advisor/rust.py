"""cargo's `target`: worth more than all downloads, and a mount only where nobody reads it later."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from lamina.advisor.mounts import Need, owner, related, within
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, lineage, walk
from lamina.advisor.tools.recognition import Use, calls
from lamina.dockerfile.instructions.commands import CopyCommand

_COPIES = ("cp", "mv", "install", "rsync", "strip")
_MOVES = ("cd", "pushd")


def target_folder(project: Project, place: Place, uses: Sequence[Use]) -> Iterator[Need]:
    """The mount for `target`, if this RUN copies out of it and nothing else reads it."""
    path = _target(place, uses)
    ids = owner(place.state)
    if path is None or ids is None or not _copied_out(place, path):
        return
    if not any(_reads(project, place, other, path) for other in walk(project)):
        yield Need(folder=path, extra=True, uid=ids[0], gid=ids[1])


def _target(place: Place, uses: Sequence[Use]) -> str | None:
    if any(use.verb not in (("build",), ("b",)) or use.call.elevated for use in uses):
        return None
    if any(use.call.has(("--target-dir", "--manifest-path", "--config")) for use in uses):
        return None
    if place.run is None or any(call.program in _MOVES for call in calls(place.run, place.state)):
        return None
    if "CARGO_TARGET_DIR" in place.state.variables:
        named = place.state.variables["CARGO_TARGET_DIR"]
        return place.state.path(named) if named else None
    return place.state.path("target")


def _copied_out(place: Place, path: str) -> bool:
    """Whether the script takes files out of `target`, to somewhere else."""
    if place.run is None:
        return False
    for call in calls(place.run, place.state):
        words = call.arguments()
        if call.program in _COPIES and len(words) > 1:
            paths = [place.state.path(word) or "" for word in words]
            if any(within(one, path) for one in paths[:-1]) and not within(paths[-1], path):
                return True
    return False


def _reads(project: Project, place: Place, other: Place, path: str) -> bool:
    """Whether another instruction reads the folder, or leaves something there for the RUN."""
    command = other.command
    if isinstance(command, CopyCommand) and command.from_:
        stage = place.stage.name or str(place.number)
        if command.from_.lower() not in (stage.lower(), str(place.number)):
            return False
        sources = [other.state.expand(source) for source in command.sources]
        return any(one is None or related("/" + one.strip("/"), path) for one in sources)
    if other.run is None or (other.number, other.index) == (place.number, place.index):
        return False
    nearby = place.number in lineage(project, other.number) or other.number in lineage(
        project, place.number
    )
    return nearby and _names_target(other, path)


def _names_target(other: Place, path: str) -> bool:
    """Whether a script compiles for this folder as well, or names it."""
    name = posixpath.basename(path)
    words = (other.run.text if other.run is not None else "").split()
    return "cargo" in words or any(name in word.split("/") for word in words)
