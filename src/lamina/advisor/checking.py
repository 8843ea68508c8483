"""Rules against a project: the findings in the order of the file, and what else is to be said."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable

import msgspec

from lamina.advisor.finding import Finding
from lamina.advisor.options import CheckOptions, comment_options, file_options
from lamina.advisor.project import Project
from lamina.advisor.rule import Rule
from lamina.errors import LaminaError, UserError

_DISABLING = re.compile(r"lamina:\s*ignore\s*=?\s*(?P<rules>[\w\-, ]+)")


class FailedRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that broke down on this project: a bug in the rule, which costs its findings only."""

    rule: str
    cause: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules say of a project.

    `error` is what is wrong with the Dockerfile itself; findings are those above it. `strict` is
    what the file's own `# check=error=true` says.
    """

    findings: tuple[Finding, ...]
    failed: tuple[FailedRule, ...] = ()
    error: LaminaError | None = None
    strict: bool = False


def check_project(project: Project, rules: Iterable[Rule]) -> Report:
    """Runs the rules. None of them can stop another."""
    error = project.dockerfile.error
    if error is None and project.asked is not None:
        error = project.evaluation.error
    try:
        options = file_options(project)
    except UserError as problem:
        options, error = CheckOptions(), error or problem
    spared = _Comments(project, options)
    findings: list[Finding] = []
    failed: list[FailedRule] = []
    for rule in rules:
        if not (options.allow(rule) or rule.experimental):
            continue
        try:
            found = list(rule.check(project))
        except Exception as problem:  # a rule is judged by its name, whatever goes wrong in it
            failed.append(FailedRule(rule=rule.name, cause=f"{type(problem).__name__}: {problem}"))
            continue
        findings += (one for one in found if spared.allow(rule, one) and not _ignored(one))
    findings.sort(key=lambda one: (one.span.file.name, one.span.start, one.rule))
    return Report(findings=tuple(findings), failed=tuple(failed), error=error, strict=options.error)


class _Comments:
    """The options in the comments above instructions."""

    def __init__(self, project: Project, options: CheckOptions) -> None:
        self._file = project.dockerfile.source
        self._options = options
        self._nodes = tuple(project.dockerfile.syntax.instructions)
        self._starts = [node.span.start for node in self._nodes]

    def allow(self, rule: Rule, finding: Finding) -> bool:
        if rule.whole_file:
            return self._options.allow(rule)
        span = finding.judge or finding.span
        index = bisect.bisect_right(self._starts, span.start) - 1
        if index < 0 or span.file.name != self._file.name:
            return self._options.allow(rule)
        more = comment_options(self._nodes[index].comments)
        return self._options.merged(more).allow(rule)


def _ignored(finding: Finding) -> bool:
    """Whether the comment right above the finding's line says `lamina: ignore=RULE`."""
    line = finding.span.line
    while line > 1 and (above := finding.span.file.line(line - 1).strip()).startswith("#"):
        match = _DISABLING.search(above)
        names = match["rules"].replace(",", " ").lower().split() if match else ()
        if finding.rule.lower() in names:
            return True
        line -= 1
    return False
