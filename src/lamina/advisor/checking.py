"""Rules against a project: the findings in the order of the file, and what else is to be said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.advisor.rule import Rule
from lamina.dockerfile.syntax import DirectiveLine
from lamina.errors import LaminaError
from lamina.notation.boolean import parse_bool

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


class Directives(msgspec.Struct, frozen=True, kw_only=True):
    """`# check=skip=A,B|all;error=true`: what a file says of its own checks, names in lower
    case.
    """

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    error: bool = False

    def skips(self, rule: str) -> bool:
        return self.skip_all or rule.lower() in self.skip


def check_project(project: Project, rules: Iterable[Rule]) -> Report:
    """Runs the rules. None of them can stop another."""
    asked = directives(project)
    findings: list[Finding] = []
    failed: list[FailedRule] = []
    for rule in rules:
        if asked.skips(rule.name):
            continue
        try:
            found = list(rule.check(project))
        except Exception as error:  # a rule is judged by its name, whatever goes wrong in it
            failed.append(FailedRule(rule=rule.name, cause=f"{type(error).__name__}: {error}"))
            continue
        findings += (one for one in found if not _ignored(one))
    findings.sort(key=lambda one: (one.span.file.name, one.span.start, one.rule))
    return Report(
        findings=tuple(findings),
        failed=tuple(failed),
        error=project.dockerfile.error,
        strict=asked.error,
    )


def directives(project: Project) -> Directives:
    """What the Dockerfile says of its own checks; options that nobody knows mean nothing."""
    for node in project.dockerfile.syntax.nodes:
        if isinstance(node, DirectiveLine) and node.directive.name == "check":
            return _directives(node.directive.value)
    return Directives()


def _directives(text: str) -> Directives:
    options = dict(_options(text))
    names = frozenset(name.strip().lower() for name in options.get("skip", "").split(","))
    return Directives(
        skip=names - {"", "all"},
        skip_all="all" in names,
        error=parse_bool(options.get("error", "false")) or False,
    )


def _options(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        name, _, value = part.partition("=")
        yield name.strip().lower(), value.strip()


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
