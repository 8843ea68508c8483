"""Explanations as text and as JSON (docs/explain.md). The first line names the first causes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lamina.trace import explanation as e
from lamina.trace.explanation import Explanation, FirstCause, StepExplanation
from lamina.ui.causes import clause, quoted
from lamina.ui.printable import escaped
from lamina.ui.quantities import render_age

FORMAT_VERSION = 1
_TOP = 3  # causes in the first line
_SHORT = 12
_NAMED = 10  # files that are listed of those that changed alike


def render_explanation(told: Explanation, *, now: float) -> str:
    """The first causes in one line, then every step that ran, and why. `now` as in time.time()."""
    names = {step.step: _name(step) for step in told.steps}
    lines = [headline(told, now=now), ""]
    where = f"{told.dockerfile or 'Dockerfile'} in {told.context}"
    against = f", compared with build {told.against[:_SHORT]}" if told.against else ""
    lines.append(
        f"build {told.build[:_SHORT]}, {render_age(now - told.started)}, {where}: "
        f"{told.outcome}{against}"
    )
    for step in told.steps:
        if step.ran or step.causes or told.step is not None or step.source:
            lines += _step(step, names, now)
    if told.warnings:
        lines += ["", *(f"warning: {text}" for text in told.warnings)]
    return escaped("".join(f"{line}\n" for line in lines))


def headline(told: Explanation, *, now: float) -> str:
    """One line: how many steps ran, and the first causes of that."""
    moved = [step for step in told.steps if (step.causes if told.against else step.ran)]
    if told.step is not None:
        return _of_one(told, next(s for s in told.steps if s.step == told.step), now)
    count = f"{len(moved)} of {len(told.steps)} steps"
    if not moved:
        if told.against:
            return f"no step differs from build {told.against[:_SHORT]}"
        return "no step was looked up" if not told.steps else "every step was cached"
    what = f"differ from build {told.against[:_SHORT]}" if told.against else "ran"
    if len(moved) == 1:
        what = what.replace("differ ", "differs ", 1)
    return f"{count} {what} {_because(told, now)}"


def _of_one(told: Explanation, step: StepExplanation, now: float) -> str:
    if not step.causes:
        source = f", from {step.source}" if step.source else ""
        same = f"has the same inputs as in build {told.against[:_SHORT]}" if told.against else ""
        return f"{_name(step)} {same or f'was cached{source}'}"
    verb = "differs" if told.against else "ran"
    return f"{_name(step)} {verb} {_because(told, now)}"


def _because(told: Explanation, now: float) -> str:
    new = (e.NeverBuiltHere, e.NotHeld)
    if told.first and all(isinstance(each.cause, new) for each in told.first):
        caches = dict.fromkeys(
            name for f in told.first if isinstance(f.cause, e.NotHeld) for name in f.cause.caches
        )
        asked = f", and {' and '.join(caches)} did not hold them" if caches else ""
        unread = next((text for text in told.warnings if "cache is not used" in text), "")
        asked += f"; {unread}" if unread else ""
        return f"because nothing like this was built here before{asked}"
    clauses = [_first(each, told, now) for each in told.first[:_TOP]]
    more = len(told.first) - len(clauses)
    if more:
        clauses.append(f"{more} more reasons below" if more > 1 else "1 more reason below")
    return "because " + ", and ".join(clauses) if clauses else "for a reason that is not known"


def _first(first: FirstCause, told: Explanation, now: float) -> str:
    names = {step.step: _name(step) for step in told.steps}
    text = clause(first.cause, now=now, steps=names)
    match first.cause:
        case e.InstructionChanged() | e.StepAdded() | e.ForcedBy() | e.BaseMoved():
            return text  # it says itself which step
        case _ if told.step == first.steps[0]:
            return text
        case e.Removed() | e.FailedBefore() | e.UnknownHere() | e.InputDiffers():
            return f"{names.get(first.steps[0], 'a step')}: {text}"
        case _:
            step = next((step for step in told.steps if step.step == first.steps[0]), None)
            if step is None:
                return text
            place = f", {step.file}:{step.line}" if step.line else ""
            return f"{text} ({quoted(step.text).strip('`')}{place})"


def _step(step: StepExplanation, names: dict[int, str], now: float) -> Iterator[str]:
    place = f"  {step.file}:{step.line}" if step.line else ""
    yield ""
    yield f"{_name(step)}{place}  {_ending(step)}"
    for cause in step.causes:
        yield f"    {clause(cause, now=now, steps=names)}"
        yield from _details(cause)
    if step.same:
        yield "    it made the same files as before: what follows stays cached"
    if step.asked:
        yield f"    asked in vain: {', '.join(step.asked)}"
    yield from (f"    | {line}" for line in step.diff.splitlines())


def _details(cause: e.Cause) -> Iterator[str]:
    """The names of files where there are several."""
    groups = cause.groups if isinstance(cause, e.FilesChanged) else ()
    for group in groups:
        if group.count > 1:
            shown = group.paths[:_NAMED]
            for path in shown:
                yield f"      {group.kind:8}{path}"
            if group.count > len(shown):
                yield f"      {group.kind:8}and {group.count - len(shown)} more"


def _ending(step: StepExplanation) -> str:
    seconds = f"{step.seconds:.1f}s"
    if step.failed:
        return f"failed after {seconds}"
    if step.ran:
        return seconds
    return f"cached, from {step.source}" if step.source else "cached"


def _name(step: StepExplanation) -> str:
    text = quoted(step.text).strip("`")
    return f"[{step.where}] {text}" if step.where else text


def explanation_json(told: Explanation, *, now: float) -> dict[str, object]:
    """The explanation as an object for JSON; every cause has its `text`."""
    names = {step.step: _name(step) for step in told.steps}

    def cause(one: e.Cause) -> dict[str, object]:
        text = clause(one, now=now, steps=names)
        return {**msgspec.to_builtins(one), "text": text}

    return {
        "version": FORMAT_VERSION,
        "headline": headline(told, now=now),
        "build": told.build,
        "started": told.started,
        "context": told.context,
        "dockerfile": told.dockerfile,
        "outcome": told.outcome,
        "against": told.against,
        "step": told.step,
        "first": [{"cause": cause(each.cause), "steps": each.steps} for each in told.first],
        "steps": [
            {
                "step": step.step,
                "where": step.where,
                "text": step.text,
                "file": step.file,
                "line": step.line,
                "ran": step.ran,
                "same": step.same,
                "failed": step.failed,
                "seconds": step.seconds,
                "causes": [cause(one) for one in step.causes],
                "asked": step.asked,
                "source": step.source,
                **({"diff": step.diff} if step.diff else {}),
            }
            for step in told.steps
        ],
        "warnings": told.warnings,
    }
