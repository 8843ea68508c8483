"""Fixes applied until none is left: each round takes those that do not touch each other.

A fix is all or nothing. After every round the files are read anew, so a fix may make room for the
next one; a fix that would bring back a text that was there before is left out, so the end is always
reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from lamina.advisor.checking import Report, check_project
from lamina.advisor.finding import Edit, Finding, Fix, NewFile, changed
from lamina.advisor.project import Context, Project
from lamina.advisor.reading import read_dockerfile
from lamina.advisor.rule import Rule
from lamina.source import SourceFile

_MOST_ROUNDS = 100


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """A project after its fixes: what was done, and what is left to say about it.

    `files` are those that changed, by their names; `new` those that were made.
    """

    project: Project
    applied: tuple[Finding, ...]
    files: tuple[SourceFile, ...]
    new: tuple[NewFile, ...]
    left: Report


def fix_project(project: Project, rules: Sequence[Rule], *, unsafe: bool) -> Fixed:
    """Applies every safe fix, and every other one with `unsafe`."""
    before = {source.name: source for source in _sources(project)}
    seen = {_texts(project)}
    applied: list[Finding] = []
    new: list[NewFile] = []
    report = check_project(project, rules)
    for _ in range(_MOST_ROUNDS):
        chosen = _compatible(report.findings, unsafe=unsafe)
        after = _apply(project, [one.fix for one in chosen if one.fix is not None])
        if not chosen or _texts(after) in seen:
            break
        seen.add(_texts(after))
        applied += chosen
        new += (file for one in chosen if one.fix for file in one.fix.files)
        project, report = after, check_project(after, rules)
    changed_files = tuple(
        source for source in _sources(project) if before.get(source.name, source) != source
    )
    return Fixed(
        project=project,
        applied=tuple(applied),
        files=changed_files,
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


def _apply(project: Project, fixes: Sequence[Fix]) -> Project:
    edits = tuple(edit for fix in fixes for edit in fix.edits)
    new = [file for fix in fixes for file in fix.files]
    return replace(
        project,
        dockerfile=read_dockerfile(_edited(project.dockerfile.source, edits)),
        workflows=tuple(_edited(source, edits) for source in project.workflows),
        context=_with_files(project.context, edits, new),
    )


def _edited(source: SourceFile, edits: Sequence[Edit]) -> SourceFile:
    return changed(source, tuple(edit for edit in edits if edit.span.file == source))


def _with_files(
    context: Context | None, edits: Sequence[Edit], new: Sequence[NewFile]
) -> Context | None:
    if context is None:
        return None
    ignore = context.ignore_file
    if ignore is not None:
        ignore = _edited(ignore, edits)
    made = next((file for file in new if file.path == context.ignore_name), None)
    if made is not None:
        ignore = SourceFile(made.path, made.text)
    return replace(context, ignore_file=ignore)


def _sources(project: Project) -> list[SourceFile]:
    ignore = project.context.ignore_file if project.context is not None else None
    return [project.dockerfile.source, *project.workflows, *([ignore] if ignore else [])]


def _texts(project: Project) -> tuple[str, ...]:
    return tuple(source.text for source in _sources(project))
