"""SOURCE_DATE_EPOCH: the time that everything a build makes is dated with
(reproducible-builds.org).

It is a number, or the name of something that has a time of its own: `context`, a named context, or
a stage that holds one ADD of a URL.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from lamina.dockerfile.base import Bases
from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.request import LoweringRequest
from lamina.dockerfile.sources import file_name, is_http_url, parse_checksum
from lamina.errors import LaminaError, UserError
from lamina.graph.ops import HttpOp, LocalOp

VARIABLE = "SOURCE_DATE_EPOCH"


def resolve_epoch(
    request: LoweringRequest,
    arguments: Mapping[str, str],
    stages: tuple[c.Stage, ...],
    *,
    lexer: Lexer,
    bases: Bases,
) -> int | None:
    """Seconds since 1970, None where no time is given or the source that is named has none.

    `arguments` are the global ones. Raises UserError, and what `bases` raises.
    """
    text = request.build_args.get(VARIABLE, arguments.get(VARIABLE, ""))
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    if text == "context":
        return bases.modified(LocalOp(name="context"))
    named = bases.named_context(text, request.build_platform)
    if named is not None:
        operation = named.vertex.op
        return bases.modified(operation) if isinstance(operation, HttpOp) else None
    for stage in stages:
        if stage.name.lower() == text.lower():
            return _time_of(stage, request, arguments, lexer, bases)
    raise UserError(
        f"invalid SOURCE_DATE_EPOCH: {text}", hint="give the seconds since 1970-01-01 UTC"
    )


def timestamp(epoch: int) -> str:
    """The RFC 3339 form that image documents use."""
    moment = datetime.datetime.fromtimestamp(epoch, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _time_of(
    stage: c.Stage,
    request: LoweringRequest,
    arguments: Mapping[str, str],
    lexer: Lexer,
    bases: Bases,
) -> int | None:
    try:
        source = _only_source(stage, request, dict(arguments), lexer)
    except LaminaError as error:
        error.span = error.span or stage.span
        raise
    return bases.modified(source)


def _only_source(
    stage: c.Stage, request: LoweringRequest, variables: dict[str, str], lexer: Lexer
) -> HttpOp:
    """What the only ADD of the stage downloads."""
    variables.pop(VARIABLE, None)
    if lexer.word(stage.base_name, variables) != "scratch":
        raise UserError("SOURCE_DATE_EPOCH stage must use FROM scratch")
    found: HttpOp | None = None
    for command in stage.commands:
        match command:
            case c.ArgCommand():
                for arg in command.args:
                    value = request.build_args.get(arg.key)
                    if value is None and arg.value is not None:
                        value = lexer.word(arg.value, variables)
                    if value is not None:
                        variables[arg.key] = value
            case c.AddCommand() if found is None:
                found = _download(command, variables, lexer)
            case c.AddCommand():
                raise UserError("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD")
            case _:
                raise UserError(
                    "SOURCE_DATE_EPOCH stage does not meet source-only requirements: "
                    f"unsupported {command.keyword.upper()} instruction"
                )
    if found is None:
        raise UserError("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD")
    return found


def _download(command: c.AddCommand, variables: Mapping[str, str], lexer: Lexer) -> HttpOp:
    if command.contents or len(command.sources) != 1:
        raise UserError("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source")
    url = lexer.word(command.sources[0], variables)
    if not is_http_url(url):
        raise UserError(
            "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD",
            hint="git repositories are not supported yet",
        )
    checksum = lexer.word(command.checksum, variables) if command.checksum else ""
    return HttpOp(
        url=url,
        filename=file_name(url),
        checksum=parse_checksum(checksum) if checksum else None,
    )
