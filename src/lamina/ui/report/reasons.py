"""Why steps ran, arranged: the first causes, and below each the steps that ran because of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from lamina.trace import explanation as e
from lamina.trace.explanation import Explanation, StepExplanation
from lamina.ui.causes import clause

_NAMED = 10  # files that are listed of those that changed alike


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A first cause in words. `at` are the steps it stands at, `followers` those that ran because
    one of these gave another result. `files` are what it concerns, where there are several.
    """

    text: str
    at: tuple[int, ...]
    followers: tuple[int, ...]
    files: tuple[str, ...] = ()


class StepReason(msgspec.Struct, frozen=True, kw_only=True):
    """One reason of one step. `follows` is the step it follows from, None for a cause."""

    text: str
    follows: int | None = None
    files: tuple[str, ...] = ()


def reasons(told: Explanation, names: Mapping[int, str], *, now: float) -> list[Reason]:
    """The first causes, in the order of the steps; every follower once, under the first of them."""
    after: dict[int, list[int]] = {}
    for step in told.steps:
        for cause in step.causes:
            if isinstance(cause, e.Follows):
                after.setdefault(cause.step, []).append(step.step)
    given = {number for first in told.first for number in first.steps}
    found = []
    for first in told.first:
        followers = [n for n in _closure(first.steps, after) if n not in given]
        given.update(followers)
        found.append(
            Reason(
                text=clause(first.cause, now=now, steps=dict(names)),
                at=first.steps,
                followers=tuple(sorted(followers)),
                files=tuple(_files(first.cause)),
            )
        )
    return found


def of_step(step: StepExplanation, names: Mapping[int, str], *, now: float) -> Iterator[StepReason]:
    """The reasons of one step, in words."""
    for cause in step.causes:
        yield StepReason(
            text=clause(cause, now=now, steps=dict(names)),
            follows=cause.step if isinstance(cause, e.Follows) else None,
            files=tuple(_files(cause)),
        )


def _closure(start: tuple[int, ...], after: Mapping[int, list[int]]) -> Iterator[int]:
    seen, todo = set(start), list(start)
    while todo:
        for number in after.get(todo.pop(0), ()):
            if number not in seen:
                seen.add(number)
                todo.append(number)
                yield number


def _files(cause: e.Cause) -> Iterator[str]:
    """`changed src/app.py`, of groups of several files; the words name single ones."""
    groups = cause.groups if isinstance(cause, e.FilesChanged) else ()
    for group in groups:
        if group.count > 1:
            shown = group.paths[:_NAMED]
            yield from (f"{group.kind} {path}" for path in shown)
            if group.count > len(shown):
                yield f"{group.kind} and {group.count - len(shown):,} more"
