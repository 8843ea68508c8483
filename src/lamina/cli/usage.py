"""Errors of the command line's parser in our words."""

from __future__ import annotations

import click

from lamina.errors import UsageError
from lamina.notation.suggest import nearest


def usage_error(problem: click.ClickException) -> UsageError:
    """The parser's error as a UsageError that names what was meant."""
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    command = context.command_path if context is not None else "lamina"
    see = f"see {command} --help"
    match problem:
        case click.NoSuchOption(option_name=name):
            near = nearest(name, _flags(context))
            return UsageError(
                f"unknown flag: {name}", hint=f"did you mean {near}?" if near else see
            )
        case click.MissingParameter() if problem.param is not None:
            return UsageError(
                f"{problem.param.human_readable_name} is missing", hint=_usage(context)
            )
        case _:
            return UsageError(problem.format_message().rstrip("."), hint=_usage(context) or see)


def _flags(context: click.Context | None) -> list[str]:
    if context is None:
        return []
    return [
        name
        for param in context.command.params
        if not getattr(param, "hidden", False)
        for name in param.opts
    ]


def _usage(context: click.Context | None) -> str | None:
    if context is None:
        return None
    return (
        f"usage: {context.command_path} {' '.join(context.command.collect_usage_pieces(context))}"
    )
