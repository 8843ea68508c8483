"""`--call` and `--check`: what is asked about a build in the place of running it."""

from __future__ import annotations

import msgspec

from lamina.cli.command import Session
from lamina.cli.key_values import choose, parse_options, parse_switch
from lamina.cli.values import Values
from lamina.control.request import BuildRequest
from lamina.errors import UsageError
from lamina.ui.progress import Mode, open_progress

FOUND = 1
METHODS = ("build", "check", "lint", "targets")
_FORMATS = ("text", "json")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """`check` looks at all rules, `lint` at Docker's own; `ignore_status`: exit with 0 whatever is
    found.
    """

    method: str = "build"
    json: bool = False
    ignore_status: bool = False


def parse_call(values: Values) -> Call:
    """The last of several; `--check` stands for `--call=check`. Raises UsageError."""
    texts = [text for text in values.texts("call") if text]
    call = _parse(texts[-1]) if texts else Call()
    if values.is_set("check"):
        return msgspec.structs.replace(call, method="check")
    return call


def _parse(text: str) -> Call:
    (method, value), *options = parse_options("--call", text)
    if method == "outline" and value is None:
        raise UsageError(
            "--call=outline is not supported yet",
            hint="--call=targets lists the stages, --call=check says what could be better",
        )
    if value is not None:
        raise UsageError(f"invalid value {text!r} for --call: it starts with a method")
    choose("--call", method, METHODS, what="method")
    given = {name: value or "" for name, value in options}
    unknown = set(given) - {"format", "ignorestatus"}
    if unknown:
        raise UsageError(f"unknown option {min(unknown)!r} for --call")
    form = choose("--call", given.get("format", "text"), _FORMATS, what="format")
    return Call(
        method=method,
        json=form == "json",
        ignore_status=parse_switch("--call", given.get("ignorestatus", "false") or "true"),
    )


def run_call(call: Call, request: BuildRequest, session: Session, mode: Mode) -> int:
    """Answers on standard output; returns the exit code. Raises LaminaError for what is wrong with
    the Dockerfile, after the findings.
    """
    if call.method == "targets":
        return _targets(call, request, session, mode)
    from lamina.control.call import call_check
    from lamina.ui.buildcheck import render_check, render_check_json
    from lamina.ui.printable import encode

    progress = open_progress(mode, stderr=session.stderr, environ=session.environ)
    try:
        checked = call_check(
            request,
            docker_only=call.method == "lint",
            root=session.root,
            watchers=(progress,),
            environ=session.environ,
            stdin=session.stdin,
        )
    finally:
        progress.close()
    report, rules = checked.report, {rule.name: rule for rule in checked.rules}
    if call.json:
        out = render_check_json(report, rules, checked.dockerfile)
    else:
        out = encode(render_check(report, rules))
    session.stdout.write(out)
    for failed in report.failed:
        session.stderr.write(encode(f"the rule {failed.rule} failed: {failed.cause}\n"))
    if report.error is not None:
        session.stdout.flush()
        raise report.error
    found = bool(report.findings or report.failed)
    return FOUND if found and not call.ignore_status else 0


def _targets(call: Call, request: BuildRequest, session: Session, mode: Mode) -> int:
    from lamina.control.call import call_targets
    from lamina.ui.buildcheck import render_targets, render_targets_json
    from lamina.ui.printable import encode

    progress = open_progress(mode, stderr=session.stderr, environ=session.environ)
    try:
        found = call_targets(
            request,
            root=session.root,
            watchers=(progress,),
            environ=session.environ,
            stdin=session.stdin,
        )
    finally:
        progress.close()
    if call.json:
        session.stdout.write(render_targets_json(found.stages, found.dockerfile))
    else:
        session.stdout.write(encode(render_targets(found.stages)))
    return 0
