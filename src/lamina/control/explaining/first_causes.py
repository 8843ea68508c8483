"""Of all causes of all steps, those that follow from no other: each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from lamina.trace import explanation as e


def first_causes(
    causes: Mapping[int, tuple[e.Cause, ...]], wanted: set[int]
) -> Iterator[e.FirstCause]:
    """The first causes of the `wanted` steps, in the order of the steps they appear at."""
    found: dict[e.Cause, list[int]] = {}
    moved = any(_is_workdir(c) for each in causes.values() for c in each)
    based = any(isinstance(c, e.BaseMoved) for each in causes.values() for c in each)
    named: _Named = {}
    for number in sorted(wanted):
        for cause in causes.get(number, ()):
            if moved and isinstance(cause, e.SettingChanged) and cause.name in _OF_WORKDIR:
                continue  # the WORKDIR says it
            told = _told(cause, found, named, based=based)
            if told is not None:
                found.setdefault(told, []).append(number)
    for cause, steps in found.items():
        yield e.FirstCause(cause=cause, steps=tuple(steps))


_OF_WORKDIR = ("directory", "instruction")


def _is_workdir(cause: e.Cause) -> bool:
    match cause:
        case e.InstructionChanged(after=text) | e.StepAdded(text=text) | e.StepRemoved(text=text):
            return text.startswith("WORKDIR ")
        case _:
            return False


_Named = dict[tuple[str, str], set[str]]
"""Paths that were named already, by what happened to them."""


def _told(
    cause: e.Cause, found: Mapping[e.Cause, object], named: _Named, *, based: bool
) -> e.Cause | None:
    """The cause as it is told at the top; None for one that is not."""
    match cause:
        case e.Follows():
            return None
        case e.VariableChanged(line=0, argument=False) if based:
            return None  # the base image has brought it
        case e.VariableChanged():
            return _same_variable(cause, found)
        case e.FilesChanged(origin=""):
            return _unnamed(cause, named)
        case _:
            return cause


def _unnamed(cause: e.FilesChanged, named: _Named) -> e.FilesChanged | None:
    """The cause without files that an earlier step has named already; None: nothing is left."""
    groups = []
    for group in cause.groups:
        known = named.setdefault((group.kind, f"{group.before} {group.after}"), set())
        new = tuple(path for path in group.paths if path not in known)
        if known and group.count > len(group.paths):
            continue  # more than are listed: they are mostly the same
        known.update(new)
        if new and len(new) < len(group.paths):
            group_left = replace(group, count=len(new), paths=new)
            groups.append(group_left)
        elif new:
            groups.append(group)
    return replace(cause, groups=tuple(groups)) if groups else None


def _same_variable(cause: e.VariableChanged, found: Mapping[e.Cause, object]) -> e.Cause:
    """A variable that changed is one cause, whether or not a step names it."""
    for other in found:
        if isinstance(other, e.VariableChanged) and (other.name, other.after, other.line) == (
            cause.name,
            cause.after,
            cause.line,
        ):
            return other
    return cause
