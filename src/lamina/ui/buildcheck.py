"""What `lamina build --check` and `--call=targets` print: as `docker buildx build` does."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lamina.advisor.checking import Report
from lamina.advisor.finding import Finding
from lamina.advisor.rule import Rule
from lamina.dockerfile.instructions.commands import Stage
from lamina.errors import LaminaError
from lamina.source import SourceFile, Span, printable
from lamina.ui.printable import escaped, one_line
from lamina.ui.render_error import render_excerpt
from lamina.ui.table import render_table

Rules = Mapping[str, Rule]


def render_check(report: Report, rules: Rules) -> str:
    """The findings, after how many there are. The error, if there is one, is not part of it."""
    count = len(report.findings)
    if not count:
        return "" if report.error is not None else "Check complete, no warnings found.\n"
    found = "1 warning has" if count == 1 else f"{count} warnings have"
    return f"Check complete, {found} been found!\n" + "".join(
        _warning(one, rules[one.rule]) for one in report.findings
    )


def _warning(finding: Finding, rule: Rule) -> str:
    url = f" - {rule.url}" if rule.url else ""
    why = "" if rule.docker else f"{escaped(finding.reason or rule.impact_description)}\n"
    message = escaped(finding.message)
    return f"\nWARNING: {rule.name}{url}\n{message}\n{why}{render_excerpt(finding.span)}"


def render_check_json(report: Report, rules: Rules, dockerfile: SourceFile) -> bytes:
    """The document of the `frontend.lint` request: `warnings`, `sources` and `buildError`."""
    sources = [dockerfile]
    warnings = [_json_warning(one, rules[one.rule], sources) for one in report.findings]
    document: dict[str, object] = {"warnings": warnings}
    if report.error is not None:
        document["buildError"] = _json_error(report.error, sources)
    document["sources"] = [_json_source(each) for each in sources]
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _json_warning(finding: Finding, rule: Rule, sources: list[SourceFile]) -> dict[str, object]:
    url = {"url": rule.url} if rule.url else {}
    return {
        "ruleName": rule.name,
        "description": rule.title,
        **url,
        "detail": printable(finding.message),
        "location": _location(finding.span, sources),
    }


def _json_error(error: LaminaError, sources: list[SourceFile]) -> dict[str, object]:
    where = _location(error.span, sources) if error.span is not None else {}
    return {"message": printable(error.message), "location": where}


def _location(span: Span, sources: list[SourceFile]) -> dict[str, object]:
    """One range a line; the first source has no number."""
    if span.file not in sources:
        sources.append(span.file)
    index = sources.index(span.file)
    lines = range(span.line, max(span.line, span.end_line) + 1)
    ranges = [{"start": {"line": line}, "end": {"line": line}} for line in lines]
    return {**({"sourceIndex": index} if index else {}), "ranges": ranges}


def _json_source(source: SourceFile) -> dict[str, object]:
    return {"filename": source.name, "language": "Dockerfile", "data": _encoded(source)}


def _encoded(source: SourceFile) -> str:
    return base64.b64encode(source.text.encode("utf-8", "surrogateescape")).decode()


def render_targets(stages: Sequence[Stage]) -> str:
    """The stages with what their comments say of them; a build makes the last."""
    rows = [
        (_name(stage, default=stage is stages[-1]), one_line(stage.doc_comment)) for stage in stages
    ]
    return render_table(("TARGET", "DESCRIPTION"), rows)


def _name(stage: Stage, *, default: bool) -> str:
    return " ".join(filter(None, (stage.name, "(default)" if default else "")))


def render_targets_json(stages: Iterable[Stage], dockerfile: SourceFile) -> bytes:
    """The document of the `frontend.targets` request."""
    stages = tuple(stages)
    targets = [_json_target(stage, dockerfile, last=stage is stages[-1]) for stage in stages]
    document = {"targets": targets, "sources": [_encoded(dockerfile)]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _json_target(stage: Stage, dockerfile: SourceFile, *, last: bool) -> dict[str, object]:
    fields = {
        "name": stage.name,
        "default": last,
        "description": printable(stage.doc_comment),
        "base": printable(stage.base_name),
        "platform": printable(stage.platform),
        "location": _location(stage.span, [dockerfile]),
    }
    return {name: value for name, value in fields.items() if value}
