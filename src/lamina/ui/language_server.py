"""Findings as an editor shows them: the values of the Language Server Protocol 3.17.

Positions count lines from 0 and, as the protocol has it by default, UTF-16 units in the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lsprotocol import types

from lamina.advisor.checking import Report
from lamina.advisor.finding import Finding, Fix, Impact
from lamina.advisor.fixing import Fixed
from lamina.advisor.rule import Rule
from lamina.errors import LaminaError
from lamina.source import SourceFile, Span

SOURCE = "lamina"
FIX_ALL = "source.fixAll.lamina"
_SEVERE = (Impact.HIGH, Impact.CRITICAL)


def diagnostics(
    report: Report, file: SourceFile, rules: Mapping[str, Rule]
) -> list[types.Diagnostic]:
    """What is to be shown in one file."""
    found = [_diagnostic(one, rules[one.rule]) for one in report.findings if one.span.file == file]
    if report.error is not None:
        found.append(_error(report.error, file))
    return found


def _diagnostic(finding: Finding, rule: Rule) -> types.Diagnostic:
    severe = rule.impact in _SEVERE
    kind = types.DiagnosticSeverity
    return types.Diagnostic(
        range=place(finding.span),
        message=f"{finding.message}\n{finding.reason or rule.impact_description}",
        severity=kind.Warning if severe else kind.Information,
        code=rule.name,
        source=SOURCE,
    )


def _error(error: LaminaError, file: SourceFile) -> types.Diagnostic:
    span = error.span if error.span is not None and error.span.file == file else Span(file, 0, 0)
    hint = f"\n{error.hint}" if error.hint else ""
    return types.Diagnostic(
        range=place(span),
        message=error.message + hint,
        severity=types.DiagnosticSeverity.Error,
        source=SOURCE,
    )


def actions(
    report: Report, file: SourceFile, wanted: types.Range, uri: str
) -> Iterator[types.CodeAction]:
    """What mends the findings at a place, each by itself."""
    for finding in report.findings:
        fix = finding.fix
        if fix is None or finding.span.file != file or not _meet(place(finding.span), wanted):
            continue
        yield types.CodeAction(
            title=fix.title if fix.safe else f"{fix.title} (may change the image)",
            kind=types.CodeActionKind.QuickFix,
            is_preferred=fix.safe,
            edit=_edit(fix, uri, file),
        )


def fix_all(fixed: Fixed, uri: str) -> types.CodeAction | None:
    """All safe fixes at once, as one change of the whole file; None where there is none."""
    change = next(
        (each for each in fixed.changes if each[1].name == fixed.project.dockerfile.source.name),
        None,
    )
    if change is None:
        return None
    before, after = change
    whole = place(Span(before, 0, len(before.text)))
    return types.CodeAction(
        title="Mend everything that is safe to mend",
        kind=FIX_ALL,
        edit=types.WorkspaceEdit(changes={uri: [types.TextEdit(range=whole, new_text=after.text)]}),
    )


def documentation(
    report: Report, file: SourceFile, at: types.Position, rules: Mapping[str, Rule]
) -> types.Hover | None:
    """The documentation of the rules that say something about a place."""
    here = types.Range(start=at, end=at)
    names = [
        one.rule
        for one in report.findings
        if one.span.file == file and _meet(place(one.span), here)
    ]
    if not names:
        return None
    bodies = [_body(rules[name]) for name in dict.fromkeys(names)]
    markdown = types.MarkupContent(types.MarkupKind.Markdown, "\n\n---\n\n".join(bodies))
    return types.Hover(contents=markdown)


def _body(rule: Rule) -> str:
    return f"### {rule.title}\n\n" + rule.documentation.split("---\n", 2)[-1].strip()


def _edit(fix: Fix, uri: str, file: SourceFile) -> types.WorkspaceEdit:
    changes: dict[str, list[types.TextEdit]] = {}
    for edit in fix.edits:
        target = uri if edit.span.file == file else Path(edit.span.file.name).resolve().as_uri()
        changes.setdefault(target, []).append(
            types.TextEdit(range=place(edit.span), new_text=edit.text)
        )
    if not fix.files:
        return types.WorkspaceEdit(changes=changes)
    documents: list[types.TextDocumentEdit | types.CreateFile] = [
        _document(target, edits) for target, edits in changes.items()
    ]
    for new in fix.files:
        target = f"{uri.rpartition('/')[0]}/{new.path}"
        start = types.Position(line=0, character=0)
        documents.append(types.CreateFile(uri=target))
        content = types.TextEdit(range=types.Range(start=start, end=start), new_text=new.text)
        documents.append(_document(target, [content]))
    return types.WorkspaceEdit(document_changes=documents)


def _document(uri: str, edits: Sequence[types.TextEdit]) -> types.TextDocumentEdit:
    identifier = types.OptionalVersionedTextDocumentIdentifier(uri=uri)
    return types.TextDocumentEdit(text_document=identifier, edits=list(edits))


def place(span: Span) -> types.Range:
    """A span as the protocol counts."""
    return types.Range(start=_position(span.file, span.start), end=_position(span.file, span.end))


def _position(file: SourceFile, offset: int) -> types.Position:
    line = Span(file, offset, offset).line
    before = file.text[file.line_starts[line - 1] : offset]
    units = len(before.encode("utf-16-le", "surrogatepass")) // 2
    return types.Position(line=line - 1, character=units)


def _meet(one: types.Range, other: types.Range) -> bool:
    return one.start <= other.end and other.start <= one.end
