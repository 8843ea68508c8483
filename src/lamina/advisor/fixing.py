"""Fixes applied until none is left: each round takes those that do not touch each other.

A fix is all or nothing. After every round the files are read anew, so a fix may make room for the
next one; a fix that would bring back a text that was there before is left out, so the end is always
reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from lamina.advisor.checking import Report, check_project
from lamina.advisor.finding import Finding, Fix, NewFile, changed
from lamina.advisor.project import Project, Read, Sources
from lamina.advisor.rule import Rule
from lamina.source import SourceFile

_MOST_ROUNDS = 100


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """A project after its fixes: what was done, and what is left to say about it.

    `changes` are the files that changed, before and after; `new` those that were made.
    """

    project: Project
    applied: tuple[Finding, ...]
    changes: tuple[tuple[SourceFile, SourceFile], ...]
    new: tuple[NewFile, ...]
    left: Report


def fix_project(
    sources: Sources, rules: Sequence[Rule], *, read: Read, unsafe: bool = False
) -> Fixed:
    """Applies every safe fix, and every other one with `unsafe`."""
    texts, seen = sources, {sources}
    applied: list[Finding] = []
    new: list[NewFile] = []
    project = read(texts)
    report = check_project(project, rules)
    for _ in range(_MOST_ROUNDS):
        chosen = _compatible(report.findings, unsafe=unsafe)
        fixes = [one.fix for one in chosen if one.fix is not None]
        texts = _edited(texts, fixes)
        if not chosen or texts in seen:
            break
        seen.add(texts)
        applied += chosen
        new += (file for fix in fixes for file in fix.files)
        project = read(texts)
        report = check_project(project, rules)
    after = {source.name: source for source in project.sources.all()}
    return Fixed(
        project=project,
        applied=tuple(applied),
        changes=tuple(
            (source, after[source.name]) for source in sources.all() if after[source.name] != source
        ),
        new=tuple(new),
        left=report,
    )


def _compatible(findings: Iterable[Finding], *, unsafe: bool) -> list[Finding]:
    """Findings whose fixes may be made at once: no two touch the same lines or make one file."""
    chosen: list[Finding] = []
    taken: set[tuple[str, int]] = set()
    for finding in findings:
        fix = finding.fix
        if fix is None or not (fix.safe or unsafe):
            continue
        places = _places(fix)
        if taken.isdisjoint(places):
            taken |= places
            chosen.append(finding)
    return chosen


def _places(fix: Fix) -> set[tuple[str, int]]:
    lines = {
        (edit.span.file.name, line)
        for edit in fix.edits
        for line in range(edit.span.line, edit.span.end_line + 1)
    }
    return lines | {(file.path, 0) for file in fix.files}


def _edited(sources: Sources, fixes: Sequence[Fix]) -> Sources:
    edits = [edit for fix in fixes for edit in fix.edits]

    def after(source: SourceFile) -> SourceFile:
        return changed(source, tuple(edit for edit in edits if edit.span.file == source))

    made = [file for fix in fixes for file in fix.files]
    ignore = SourceFile(made[0].path, made[0].text) if made else sources.ignore
    return Sources(
        dockerfile=after(sources.dockerfile),
        ignore=after(ignore) if ignore is not None else None,
        workflows=tuple(map(after, sources.workflows)),
    )
