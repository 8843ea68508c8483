"""Which stages of a Dockerfile may run at the same time."""

from __future__ import annotations

from lamina.advisor.project import Project
from lamina.advisor.stagestate import lineage, walk
from lamina.dockerfile.instructions.commands import CopyCommand


def parallel(project: Project, one: int, other: int) -> bool:
    """Whether neither of two stages, by their numbers, waits for the other."""
    if one == other:
        return False
    needs = needed_stages(project)
    return one not in needs[other] and other not in needs[one]


def needed_stages(project: Project) -> dict[int, frozenset[int]]:
    """For every stage those that it waits for, itself included."""
    stages = project.dockerfile.stages
    names = {stage.name.lower(): index for index, stage in enumerate(stages) if stage.name}
    names |= {str(index): index for index in range(len(stages))}
    direct: dict[int, set[int]] = {
        index: set(lineage(project, index)) for index in range(len(stages))
    }
    for place in walk(project):
        sources = [place.command.from_] if isinstance(place.command, CopyCommand) else []
        if place.run is not None:
            sources += [mount.from_ for mount in place.run.command.mounts]
        for source in sources:
            number = names.get(source.lower())
            if number is not None and number < place.number:
                direct[place.number].add(number)
    found: dict[int, frozenset[int]] = {}
    for index in sorted(direct):
        below = (found[number] for number in direct[index] if number != index)
        found[index] = frozenset((index,)).union(*below)
    return found
