"""Build arguments that differ from build to build, and what is made of them.

    ARG GIT_SHA                           every RUN below has it in its key
    LABEL revision=$GIT_SHA               made of it
    RUN apt-get update && apt-get …       does not ask for it, and runs again for it

Only groundwork and installs from manifests are known not to ask; whatever else a RUN may do, it may
read its environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from lamina.advisor.editing import line_end
from lamina.advisor.finding import Edit
from lamina.advisor.groundwork import is_groundwork
from lamina.advisor.installs import read_install
from lamina.advisor.project import Dockerfile, Project
from lamina.advisor.stagestate import Place, walk
from lamina.dockerfile.instructions.commands import (
    AddCommand,
    ArgCommand,
    Command,
    CopyCommand,
    EnvCommand,
    KeyValue,
    LabelCommand,
    OnbuildCommand,
    RunCommand,
    WorkdirCommand,
)
from lamina.dockerfile.syntax import Comment, Instruction
from lamina.source import Span

_VOLATILE = re.compile(
    r"(?:.*_)?(?:GIT|VCS|COMMIT|SOURCE|CI_COMMIT|GITHUB)_?(?:SHA|REF|REVISION|COMMIT|HASH|ID|DESCRIBE)"
    r"(?:_SHORT|_SHA)?|(?:.*_)?(?:COMMIT|REVISION|SHORT_SHA|SHA|BUILD_?SHA)"
    r"|(?:.*_)?BUILD_?(?:DATE|TIME|TIMESTAMP|NUMBER|NUM|ID|REF|VERSION|REVISION|VCS_REF)"
    r"|(?:.*_)?(?:TIMESTAMP|BUILDTIME|CREATED)",
    re.IGNORECASE,
)
_RELEASE = re.compile(
    r"(?:(?:APP|IMAGE|PROJECT|PACKAGE|SERVICE)_)?(?:VERSION|RELEASE)", re.IGNORECASE
)
_WORK = CopyCommand | AddCommand | RunCommand | WorkdirCommand


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Volatile arguments, what is made of them, and the RUNs that they make run again for nothing.

    `members` are the ARGs themselves and the ENVs and LABELs, in their order. `below` is the last
    instruction that does not want them: the group can stand behind it.
    """

    names: tuple[str, ...]
    members: tuple[Place, ...]
    costly: tuple[Place, ...]
    below: Place


def volatile_groups(project: Project) -> Iterator[Group]:
    """Every volatile argument that stands above work that has nothing to do with it; those that
    can go to one place go together.
    """
    joined: dict[int, Group] = {}
    for group in _groups(project):
        at = group.below.command.span.start
        joined[at] = _joined(joined[at], group) if at in joined else group
    yield from joined.values()


def _joined(one: Group, other: Group) -> Group:
    members = {place.index: place for place in (*one.members, *other.members)}
    costly = {place.index: place for place in (*one.costly, *other.costly)}
    return replace(
        one,
        names=(*one.names, *other.names),
        members=tuple(members[index] for index in sorted(members)),
        costly=tuple(costly[index] for index in sorted(costly)),
    )


def _groups(project: Project) -> Iterator[Group]:
    places = walk(project)
    for number, place in enumerate(places):
        command = place.command
        if isinstance(command, ArgCommand) and len(command.args) == 1:
            (argument,) = command.args
            if is_volatile(argument.key, default=argument.value):
                below = [other for other in places[number + 1 :] if other.number == place.number]
                group = _group(argument.key, place, below)
                if group is not None:
                    yield group


def is_volatile(name: str, *, default: str | None) -> bool:
    """Whether the name is one of those that every build, or every release, gives another value."""
    if _VOLATILE.fullmatch(name):
        return True
    return default in (None, "", "dev", "unknown", "latest") and bool(_RELEASE.fullmatch(name))


def mentions(text: str, names: Sequence[str]) -> bool:
    """Whether one of the names stands in a text."""
    return any(
        re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", text) for name in names
    )


def asks_for_nothing(place: Place, *, installs: bool) -> bool:
    """Whether a RUN is known to read no variables but those of its own tools."""
    run = place.run
    if run is None or not run.steps or not run.whole or not place.state.posix:
        return False
    return all(
        is_groundwork(run, place.state, step)
        or (installs and read_install(run, place.state, step) is not None)
        for step in run.steps
    )


def moved(dockerfile: Dockerfile, group: Group) -> tuple[Edit, ...]:
    """The group behind what does not want it."""
    nodes = [dockerfile.node(place.command) for place in group.members]
    end = line_end(nodes[0])
    spans = [_with_comments(dockerfile, node) for node in nodes]
    lines = [span.text if span.text.endswith("\n") else span.text + end for span in spans]
    target = dockerfile.node(group.below.command).span
    text = "".join(lines)
    if not target.text.endswith("\n"):
        text = end + text.removesuffix(end)
    place = Span(target.file, target.end, target.end)
    return (*(Edit(span, "") for span in spans), Edit(place, text))


def _with_comments(dockerfile: Dockerfile, node: Instruction) -> Span:
    nodes = dockerfile.syntax.nodes
    index = nodes.index(node)
    while index and isinstance(nodes[index - 1], Comment):
        index -= 1
    return Span(node.span.file, nodes[index].span.start, node.span.end)


def _group(name: str, place: Place, below: Sequence[Place]) -> Group | None:
    names, members, costly = [name], [place], []
    last: Place | None = None
    set_since: set[str] = set()
    for other in below:
        command = other.command
        wants = mentions(command.original, names)
        if isinstance(command, OnbuildCommand):
            break
        if isinstance(command, EnvCommand | LabelCommand) and wants:
            made = _made_of(command, names)
            if made is None or not set_since.isdisjoint(_keys(command)):
                break
            members.append(other)
            names += made
        elif isinstance(command, RunCommand):
            if wants or not asks_for_nothing(other, installs=True):
                break
            costly.append(other)
            last = other
        elif wants:
            break
        elif isinstance(command, _WORK):
            last = other
        set_since |= set(_keys(command))
    if not costly or last is None:
        return None
    above = tuple(m for m in members if m.index < last.index)
    return Group(names=(name,), members=above, costly=tuple(costly), below=last)


def _made_of(command: EnvCommand | LabelCommand, names: Sequence[str]) -> list[str] | None:
    """The variables that an instruction makes of the names and nothing else; None where it sets
    others besides.
    """
    pairs = command.env if isinstance(command, EnvCommand) else command.labels
    if isinstance(command, LabelCommand):
        return []
    return [pair.key for pair in pairs] if _only(pairs, names) else None


def _only(pairs: Sequence[KeyValue], names: Sequence[str]) -> bool:
    return all(mentions(pair.value, names) for pair in pairs)


def _keys(command: Command) -> tuple[str, ...]:
    match command:
        case EnvCommand():
            return tuple(pair.key for pair in command.env)
        case LabelCommand():
            return tuple(pair.key for pair in command.labels)
        case ArgCommand():
            return tuple(pair.key for pair in command.args)
    return ()
