"""Parts that the plain and the terminal view of a build share."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from lamina.trace.events import Warned
from lamina.trace.verdict import Hit, Uncacheable, Verdict, sentence
from lamina.ui.printable import encode, escaped_line

SAME_RESULT = "same result as before: what follows stays cached"


def why(verdict: Verdict) -> str:
    """Why a step was not in the cache; "" where there is nothing to say."""
    return "" if isinstance(verdict, Hit | Uncacheable) else sentence(verdict)


def decision(verdict: Verdict) -> str:
    """Why a step was not in the cache, or the external cache that it was in; "" for nothing."""
    match verdict:
        case Hit(source=source):
            return f"from {source}" if source else ""
        case _:
            reason = why(verdict)
            return f"why: {reason}" if reason else ""


def failure_block(name: str, lines: Iterable[bytes]) -> bytes:
    """The last lines of a failed step between two rules, as BuildKit repeats them at the end."""
    shown = b"".join(line + b"\n" for line in lines)
    return b"------\n > " + encode(escaped_line(name)) + b":\n" + shown + b"------\n"


def warnings_block(warnings: Collection[Warned]) -> str:
    """The warnings of a build, each once; "" for none."""
    lines = list(dict.fromkeys(_warning(warning) for warning in warnings))
    if not lines:
        return ""
    count = "1 warning" if len(lines) == 1 else f"{len(lines)} warnings"
    more = " (lamina build --check shows more)" if any(one.line for one in warnings) else ""
    return f"\n {count} found{more}:\n" + "".join(f" - {line}\n" for line in lines)


def _warning(warning: Warned) -> str:
    place = f" (line {warning.line})" if warning.line else ""
    return escaped_line(warning.message) + place
