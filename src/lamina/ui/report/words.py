"""Numbers, names and texts of a report as people read them; texts are clipped to what fits."""

from __future__ import annotations

import html
import re
import time
from bisect import bisect_right

from lamina.trace.report import Report, ReportedStep
from lamina.trace.timeline import Outcome, Span
from lamina.ui.printable import escaped, one_line, terminal_line
from lamina.ui.quantities import render_bytes

_FLAGS = re.compile(r"\A(?:--(?!from)[a-z-]+(?:=\S+)? )+")
NARROW = "\u202f"  # a narrow space that no line breaks at
ELLIPSIS = "…"
SHORT = 12  # letters of a build's id

OUTCOMES: dict[Outcome, str] = {
    "cached": "cached",
    "ran": "ran",
    "same": "ran, same result",
    "failed": "failed",
    "canceled": "canceled",
    "done": "done",
    "unfinished": "did not end",
}


def duration(seconds: float) -> str:
    """`12 ms`, `2.4 s`, `3 min 12 s`, `1 h 4 min`."""
    if seconds < 0.0005:
        return f"0{NARROW}s"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}{NARROW}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}{NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min {rest}{NARROW}s"
    return f"{minutes // 60}{NARROW}h {minutes % 60}{NARROW}min"


def amount(count: int) -> str:
    """`512 B`, `3.15 MB`."""
    text = render_bytes(count)
    unit = text.lstrip("-0123456789.")
    return f"{text.removesuffix(unit)}{NARROW}{unit}"


def percent(part: float) -> str:
    return f"{part * 100:.0f}{NARROW}%"


def counted(count: int, noun: str) -> str:
    """`1 step`, `12,400 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def moment(seconds: float) -> str:
    """A time in seconds since 1970, as it is here."""
    return time.strftime("%-d %B %Y, %H:%M:%S", time.localtime(seconds))


def iso(seconds: float) -> str:
    """The same for machines (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def clipped(text: str, limit: int) -> str:
    """The text without control characters, and no longer than `limit` bytes of HTML."""
    text = escaped(text[: limit + 1])
    if weight(text) <= limit:
        return text
    room = limit - weight(ELLIPSIS)
    fits = bisect_right(range(len(text) + 1), room, key=lambda count: weight(text[:count])) - 1
    return text[: max(fits, 0)].rstrip() + ELLIPSIS


def path_text(path: str, limit: int = 160) -> str:
    """A path, clipped in its middle: the beginning and the name say the most."""
    path = one_line(path)
    if weight(path) <= limit:
        return path
    half = limit // 2
    tail = clipped(path[::-1], half).rstrip(ELLIPSIS)[::-1]
    return clipped(path, half).rstrip(ELLIPSIS) + ELLIPSIS + tail


def weight(text: str) -> int:
    """The bytes of the text in a page."""
    return len(html.escape(text).encode("utf-8", "replace"))


def log_lines(data: bytes, limit: int) -> tuple[str, bool]:
    """The last lines of some output that fit into `limit` bytes of a page, and whether all do."""
    kept: list[str] = []
    used = 0
    lines = [terminal_line(line) for line in data.rstrip(b"\n").split(b"\n")]
    for line in reversed(lines):
        used += weight(line) + 1
        if used > limit:
            if not kept:  # one line that is too long: its end
                kept.append(clipped(line[-limit:], limit))
            return "\n".join(reversed(kept)), False
        kept.append(line)
    return "\n".join(reversed(kept)), True


def step_name(step: ReportedStep) -> str:
    """As progress shows it, in one line."""
    text = one_line(" ".join(step.text.split()))
    return f"[{step.where}] {text}" if step.where else text


def short_name(step: ReportedStep) -> str:
    """The same without the flags of the instruction."""
    line = command_line(step.text)
    return f"[{step.where}] {line}" if step.where else line


def command_line(text: str) -> str:
    """An instruction in one line without its flags, which are mostly the longest and say least."""
    keyword, _, rest = one_line(" ".join(text.split())).partition(" ")
    return f"{keyword} {_FLAGS.sub('', rest)}".rstrip() if keyword.isupper() else text


def spans_sentence(step: ReportedStep) -> str:
    """`from 0.4 s to 2.1 s: waited 1 s for cache mount apt, ran 0.7 s`."""
    parts = [_span(span) for span in step.spans if span.seconds >= 0.0005]
    told = ", ".join(parts) or OUTCOMES[step.outcome]
    return f"from {duration(step.start)} to {duration(step.end)}: {told}"


def _span(span: Span) -> str:
    time_taken = duration(span.seconds)
    match span.kind:
        case "cached":
            return f"found in the cache in {time_taken}"
        case "run":
            return f"ran {time_taken}"
        case "wait":
            return f"waited {time_taken} for {one_line(span.what)}"
        case "download":
            return f"downloaded for {time_taken}"
        case "work":
            return f"took {time_taken}"


def title(report: Report) -> str:
    return one_line(report.title)


def outcome_sentence(report: Report) -> str:
    """`Succeeded in 2.4 s`."""
    taken = duration(report.seconds)
    match report.outcome:
        case "succeeded":
            return f"Succeeded in {taken}"
        case "failed":
            return f"Failed after {taken}"
        case "interrupted":
            return f"Interrupted after {taken}"
        case _:
            return f"Did not end, last seen after {taken}"
