"""Findings as text for people, and in the formats of those who show them elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lamina.advisor.checking import Report
from lamina.advisor.finding import Finding, Impact
from lamina.advisor.rule import Rule
from lamina.source import Span
from lamina.ui.printable import escaped, one_line
from lamina.ui.render_error import render_excerpt

Rules = Mapping[str, Rule]
"""The rules by their names."""

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
_HIGH = (Impact.HIGH, Impact.CRITICAL)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Lines and columns from 1; `end_column` is that behind the last letter."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


class JsonFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding as `--format json` prints it. `fix` is what mending it does, "" where nothing
    can.
    """

    rule: str
    title: str
    impact: str
    message: str
    reason: str
    place: Place
    fix: str = ""
    safe: bool = True


def render_text(reports: Iterable[Report], rules: Rules) -> str:
    """Every finding with its lines, its reason and what mends it; a summary at the end."""
    reports = tuple(reports)
    parts = [_text(one, rules[one.rule]) for report in reports for one in report.findings]
    for report in reports:
        if report.error is not None:
            parts.append(f"ERROR: {escaped(report.error.message)}\n")
            parts += [render_excerpt(report.error.span)] if report.error.span else []
        parts += [f"the rule {each.rule} failed: {escaped(each.cause)}\n" for each in report.failed]
    return "\n".join(parts) + ("\n" if parts else "") + _summary(reports)


def _text(finding: Finding, rule: Rule) -> str:
    mark = ""
    if finding.fix is not None:
        mark = " [fixable]" if finding.fix.safe else " [fixable with --unsafe]"
    return (
        f"{rule.impact} {rule.name}: {escaped(finding.message)}{mark}\n"
        f"{render_excerpt(finding.span)}"
        f"why: {escaped(finding.reason or rule.impact_description)}\n"
    )


def _summary(reports: Sequence[Report]) -> str:
    findings = [one for report in reports for one in report.findings]
    checked = f"{len(reports)} file{'s' if len(reports) != 1 else ''} checked"
    errors = sum(report.error is not None for report in reports)
    if errors:
        checked += f", {errors} with an error"
    if not findings:
        return f"{checked}, nothing {'else ' if errors else ''}to say\n"
    safe = sum(one.fix is not None and one.fix.safe for one in findings)
    unsafe = sum(one.fix is not None and not one.fix.safe for one in findings)
    plural = "s" if len(findings) != 1 else ""
    fixable = f"; {safe} can be fixed with lamina fix" if safe else ""
    fixable += f", {unsafe} more with --unsafe" if unsafe else ""
    return f"{checked}, {len(findings)} finding{plural}{fixable}\n"


def render_json(reports: Iterable[Report], rules: Rules) -> bytes:
    """`{"version": 1, "findings": […], "errors": […], "failed": […]}`."""
    reports = tuple(reports)
    document = {
        "version": 1,
        "findings": [_json(one, rules[one.rule]) for report in reports for one in report.findings],
        "errors": [
            {"message": each.message, "place": _place(each.span) if each.span else None}
            for report in reports
            if (each := report.error) is not None
        ],
        "failed": [
            {"rule": each.rule, "cause": each.cause} for report in reports for each in report.failed
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _json(finding: Finding, rule: Rule) -> JsonFinding:
    fix = finding.fix
    return JsonFinding(
        rule=rule.name,
        title=rule.title,
        impact=rule.impact,
        message=escaped(finding.message),
        reason=escaped(finding.reason or rule.impact_description),
        place=_place(finding.span),
        fix=fix.title if fix is not None else "",
        safe=fix is None or fix.safe,
    )


def render_github(reports: Iterable[Report], rules: Rules) -> str:
    """Workflow commands that GitHub turns into annotations."""
    lines = []
    for report in reports:
        for one in report.findings:
            level = "error" if report.strict else "warning"
            lines.append(_command(level, one.span, rules[one.rule].title, one.message))
        if report.error is not None:
            lines.append(_command("error", report.error.span, "Dockerfile", report.error.message))
    return "".join(lines)


def _command(level: str, span: Span | None, title: str, message: str) -> str:
    where = ""
    if span is not None:
        where = (
            f"file={_property(span.file.name)},line={span.line},endLine={span.end_line},"
            f"col={span.column},"
        )
    return f"::{level} {where}title={_property(title)}::{_data(one_line(message))}\n"


def _data(text: str) -> str:
    return escaped(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def render_sarif(reports: Iterable[Report], rules: Rules, *, version: str) -> bytes:
    """One run of SARIF 2.1.0, with fixes."""
    reports = tuple(reports)
    run = {
        "tool": {
            "driver": {
                "name": "lamina",
                "version": version,
                "rules": [_sarif_rule(rule) for rule in rules.values()],
            }
        },
        "results": [
            _sarif_result(one, rules[one.rule]) for report in reports for one in report.findings
        ],
        "invocations": [
            {
                "executionSuccessful": all(report.error is None for report in reports),
                "toolExecutionNotifications": [
                    _sarif_notification(report) for report in reports if report.error is not None
                ],
            }
        ],
    }
    document = {"$schema": _SARIF, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _sarif_rule(rule: Rule) -> dict[str, object]:
    body = rule.documentation.split("---\n", 2)[-1].strip()
    return {
        "id": rule.name,
        "name": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.impact_description},
        "help": {"text": rule.impact_description, "markdown": body},
        "defaultConfiguration": {"level": _level(rule)},
        "properties": {"tags": rule.tags, "impact": rule.impact},
    }


def _level(rule: Rule) -> str:
    return "warning" if rule.impact in _HIGH else "note"


def _sarif_result(finding: Finding, rule: Rule) -> dict[str, object]:
    result: dict[str, object] = {
        "ruleId": rule.name,
        "level": _level(rule),
        "message": {"text": escaped(finding.message)},
        "locations": [{"physicalLocation": _location(finding.span)}],
    }
    if finding.fix is not None and finding.fix.edits:
        changes: dict[str, list[dict[str, object]]] = {}
        for edit in finding.fix.edits:
            changes.setdefault(edit.span.file.name, []).append(
                {
                    "deletedRegion": _region(edit.span),
                    "insertedContent": {"text": escaped(edit.text)},
                }
            )
        result["fixes"] = [
            {
                "description": {"text": finding.fix.title},
                "artifactChanges": [
                    {"artifactLocation": {"uri": name}, "replacements": replacements}
                    for name, replacements in changes.items()
                ],
            }
        ]
    return result


def _sarif_notification(report: Report) -> dict[str, object]:
    assert report.error is not None
    found: dict[str, object] = {
        "level": "error",
        "message": {"text": escaped(report.error.message)},
    }
    if report.error.span is not None:
        found["locations"] = [{"physicalLocation": _location(report.error.span)}]
    return found


def _location(span: Span) -> dict[str, object]:
    return {"artifactLocation": {"uri": span.file.name}, "region": _region(span)}


def _region(span: Span) -> dict[str, object]:
    place = _place(span)
    return {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }


def _place(span: Span) -> Place:
    end = Span(span.file, span.end, span.end)
    return Place(
        file=span.file.name,
        line=span.line,
        column=span.column,
        end_line=end.line,
        end_column=end.column,
    )
