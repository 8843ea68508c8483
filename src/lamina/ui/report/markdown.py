"""The report as Markdown, for the page of a CI job or a pull request.

GitHub's dialect (tables, details). What comes from a build stands in code spans and blocks, where
it is neither markup, nor a link, nor a mention of somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lamina.trace.report import Report, ReportedStep
from lamina.ui.report import words
from lamina.ui.report.reasons import Reason, reasons
from lamina.ui.report.words import amount, counted, duration

_SLOWEST = 10
_REASONS = 8
_LISTED = 8
_WASTED = 5
_LOG = 3000
_STEPS = 100
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|<>~&:])")
_NO_MENTION = "@\u2060"  # nobody is to be told of a build because a file is called @name


def render_markdown(report: Report, *, command: str = "lamina") -> str:
    """A summary; the rest is folded away."""
    return "\n".join(_lines(report, command)).encode("utf-8", "replace").decode() + "\n"


def _lines(report: Report, command: str) -> Iterator[str]:
    mark = {"succeeded": "✅", "failed": "❌"}.get(report.outcome, "⚠️")
    yield f"### {mark} {_code(words.title(report), 100)}: {words.outcome_sentence(report)}"
    yield ""
    facts = [f"**{report.cached}** cached, **{report.ran}** ran"]
    if report.saved:
        facts.append(f"the cache saved **{duration(report.saved)}**")
    if report.critical:
        facts.append(f"critical path **{duration(report.critical_seconds)}**")
    if report.images:
        wasted = sum(image.wasted for image in report.images)
        size = amount(sum(image.size for image in report.images))
        facts.append(f"layers **{size}**" + (f", {amount(wasted)} wasted" if wasted else ""))
    yield " · ".join(facts)
    yield from _failure(report)
    yield from _why(report)
    yield from _slowest(report)
    yield from _wasted(report)
    yield from _all_steps(report)
    yield ""
    yield (
        f"<sub>Build {_code(report.build[: words.SHORT], 20)} of "
        f"{_code(report.dockerfile, 80)}, {words.moment(report.started)}. "
        f"{_code(f'{command} report {report.build[: words.SHORT]} -o build.html', 120)} "
        "shows all of it.</sub>"
    )


def _failure(report: Report) -> Iterator[str]:
    for step in report.steps:
        if step.outcome != "failed":
            continue
        yield ""
        yield f"{_code(words.short_name(step), 200)} failed: {_code(step.error, 400)}"
        if step.log is not None:
            text, whole = words.log_lines(step.log.data, _LOG)
            yield ""
            yield from _block(text if whole and step.log.whole else f"…\n{text}")


def _why(report: Report) -> Iterator[str]:
    names = {step.step: words.clipped(words.short_name(step), 120) for step in report.steps}
    found = reasons(report.explanation, names, now=report.made)
    if not found:
        return
    yield ""
    yield "**Why steps ran**"
    yield ""
    for number, reason in enumerate(found[:_REASONS], 1):
        yield f"{number}. {_prose(reason.text)}"
        yield from _followers(reason, names)
    if len(found) > _REASONS:
        yield f"{_REASONS + 1}. and {len(found) - _REASONS} more reasons"


def _followers(reason: Reason, names: dict[int, str]) -> Iterator[str]:
    for number in reason.at[:_LISTED]:
        yield f"   - {_code(names.get(number, f'step {number}'), 120)}"
    more = len(reason.at) - _LISTED
    if more > 0:
        yield f"   - and {counted(more, 'more step')}"
    if reason.followers:
        listed = ", ".join(_code(names.get(n, f"step {n}"), 60) for n in reason.followers[:3])
        rest = len(reason.followers) - 3
        yield f"   - and so: {listed}" + (f" and {rest} more" if rest > 0 else "")


def _slowest(report: Report) -> Iterator[str]:
    slow = sorted(
        (step for step in report.steps if step.outcome != "cached" and step.seconds >= 0.05),
        key=lambda step: -step.seconds,
    )[:_SLOWEST]
    if not slow:
        return
    yield ""
    yield from _table(
        ("Slowest steps", "", "Took", "Critical"),
        [
            (
                _code(words.short_name(step), 90),
                "█" * max(1, round(12 * step.seconds / max(report.seconds, 1e-9))),
                duration(step.seconds) + _waited(step),
                "yes" if step.critical else "",
            )
            for step in slow
        ],
    )


def _waited(step: ReportedStep) -> str:
    waited = sum(span.seconds for span in step.spans if span.kind == "wait")
    return f", of which {duration(waited)} waiting" if waited >= 0.05 else ""


def _wasted(report: Report) -> Iterator[str]:
    files = sorted(
        ((file, layer.name) for i in report.images for layer in i.layers for file in layer.waste),
        key=lambda found: -found[0].size,
    )[:_WASTED]
    if not files:
        return
    yield ""
    yield from _table(
        ("Wasted bytes", "File", "Added by", "Hidden by"),
        [
            (
                amount(file.size),
                _code(words.path_text(file.path, 80), 90),
                _code(layer, 60),
                f"{file.how} by {_code(file.by, 60)}",
            )
            for file, layer in files
        ],
    )


def _all_steps(report: Report) -> Iterator[str]:
    steps = [step for step in report.steps if not step.internal]
    if not steps:
        return
    yield ""
    yield f"<details><summary>All {counted(len(steps), 'step')}</summary>"
    yield ""
    yield from _table(
        ("Step", "Outcome", "Took", "Size"),
        [
            (
                _code(words.short_name(step), 90),
                words.OUTCOMES[step.outcome],
                duration(step.seconds),
                amount(step.size) if step.size is not None else "",
            )
            for step in steps[:_STEPS]
        ],
    )
    if len(steps) > _STEPS:
        yield ""
        yield f"and {len(steps) - _STEPS} more"
    yield ""
    yield "</details>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _code(text: str, limit: int) -> str:
    """A code span (CommonMark 6.1): fenced by more backticks than the text has in a row."""
    text = words.clipped(" ".join(text.split()), limit) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _prose(text: str) -> str:
    """A sentence of ours with names of the build in it, which are escaped (CommonMark 2.4)."""
    pieces = words.clipped(" ".join(text.split()), 500).split("`")
    return "".join(
        _code(piece, 500) if index % 2 else _MARKUP.sub(r"\\\1", piece).replace("@", _NO_MENTION)
        for index, piece in enumerate(pieces)
        if piece
    )


def _block(text: str) -> Iterator[str]:
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    yield f"{fence}text"
    yield text
    yield fence
