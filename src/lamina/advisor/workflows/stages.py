"""Stages whose results a build needs, and that are not a part of its image."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.project import Project
from lamina.advisor.stagestate import lineage
from lamina.dockerfile.instructions.commands import CopyCommand, RunCommand


def stages_beside(project: Project, target: str) -> tuple[str, ...]:
    """The names of stages with work in them that only files are copied from.

    A cache that holds the layers of the image alone has nothing of them.
    """
    stages = project.dockerfile.stages
    end = _number(project, target) if target else len(stages) - 1
    if end is None or end < 0 or project.dockerfile.error is not None:
        return ()
    own = set(lineage(project, end))
    needed, left = set[int](), list(own)
    while left:
        number = left.pop()
        for other in _asked(project, number):
            if other not in needed and other not in own:
                needed |= set(lineage(project, other))
                left += lineage(project, other)
    beside = sorted(needed - own)
    return tuple(
        stages[number].name or str(number)
        for number in beside
        if any(isinstance(command, RunCommand) for command in stages[number].commands)
    )


def _asked(project: Project, number: int) -> Iterator[int]:
    for command in project.dockerfile.stages[number].commands:
        names = [command.from_] if isinstance(command, CopyCommand) else []
        if isinstance(command, RunCommand):
            names = [mount.from_ for mount in command.mounts]
        for name in names:
            found = _number(project, name) if name else None
            if found is not None:
                yield found


def _number(project: Project, name: str) -> int | None:
    stages = project.dockerfile.stages
    if name.isdecimal():
        return int(name) if int(name) < len(stages) else None
    return next((n for n, stage in enumerate(stages) if stage.name == name.lower()), None)
