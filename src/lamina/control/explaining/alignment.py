"""Which step of one build is which step of another: by stage, and by what the steps say.

before   FROM  COPY a  RUN x          RUN y
after    FROM  COPY a  RUN x  RUN new RUN y     `RUN y` is still `RUN y`, though its number moved
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import msgspec

from lamina.trace.steps import RecordedStep

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}|sha256:[0-9a-f]{64}")
_ALIKE = 0.4  # of 1: how much of a text must be left for the step to be the same one, changed

Stages = dict[str, list[RecordedStep]]


class Alignment(msgspec.Struct, frozen=True):
    """`partners` maps steps of the later build to those of the earlier one. `removed` are the steps
    that stood before a step and are not there any more; `added` those that have no partner though
    their stage has one.
    """

    partners: dict[int, RecordedStep]
    removed: dict[int, tuple[RecordedStep, ...]]
    added: frozenset[int]


def align(before: Mapping[int, RecordedStep], after: Mapping[int, RecordedStep]) -> Alignment:
    """Steps that nobody wrote (the context, metadata) have no partners."""
    old, new = _stages(before), _stages(after)
    partners: dict[int, RecordedStep] = {}
    removed: dict[int, tuple[RecordedStep, ...]] = {}
    added: set[int] = set()
    for stage, steps in new.items():
        others = old.get(stage)
        if others is None and len(old) == len(new) == 1:
            (others,) = old.values()
        if others is None:
            continue
        _align_stage(others, steps, partners, removed, added)
    return Alignment(partners, removed, frozenset(added))


def _align_stage(
    old: list[RecordedStep],
    new: list[RecordedStep],
    partners: dict[int, RecordedStep],
    removed: dict[int, tuple[RecordedStep, ...]],
    added: set[int],
) -> None:
    matcher = difflib.SequenceMatcher(
        None, [_text(step) for step in old], [_text(step) for step in new], autojunk=False
    )
    for _, i, i_end, j, j_end in matcher.get_opcodes():
        left, right = old[i:i_end], new[j:j_end]
        pairs = _pair(left, right)
        partners.update({after.number: before for before, after in pairs})
        paired = {before.number for before, _ in pairs}
        gone = tuple(step for step in left if step.number not in paired)
        if gone and j_end < len(new):
            removed[new[j_end].number] = gone
        added.update(step.number for step in right if step.number not in partners)


def _pair(
    left: list[RecordedStep], right: list[RecordedStep]
) -> list[tuple[RecordedStep, RecordedStep]]:
    """Equal ones in order; of those that differ, the ones that are most alike."""
    if [_text(step) for step in left] == [_text(step) for step in right]:
        return list(zip(left, right, strict=True))
    if len(left) == len(right):
        same = [(a, b) for a, b in zip(left, right, strict=True) if _keyword(a) == _keyword(b)]
        if len(same) == len(left):
            return same
    pairs: list[tuple[RecordedStep, RecordedStep]] = []
    rest = list(right)
    for step in left:
        alike = [
            (difflib.SequenceMatcher(None, step.text[:500], other.text[:500]).ratio(), other)
            for other in rest
            if _keyword(step) == _keyword(other)
        ]
        best = max(alike, key=lambda item: item[0], default=None)
        if best is not None and best[0] >= _ALIKE:
            pairs.append((step, best[1]))
            rest = rest[rest.index(best[1]) + 1 :]  # in order: none crosses another
    return pairs


def _stages(steps: Mapping[int, RecordedStep]) -> Stages:
    stages: Stages = {}
    for step in steps.values():
        if step.position or step.image:
            stages.setdefault(step.stage, []).append(step)
    for each in stages.values():
        each.sort(key=lambda step: int(step.position.partition("/")[0] or 0))
    return stages


def _keyword(step: RecordedStep) -> str:
    return step.text.partition(" ")[0]


def _text(step: RecordedStep) -> str:
    return _DIGEST.sub("", step.text)
