"""The timeline alone, as an SVG file: a bar a step."""

from __future__ import annotations

from lamina.trace.report import Report, ReportedStep
from lamina.ui.report import words
from lamina.ui.report.scale import parts, ticks

_LABEL = 58  # letters of a name that fit beside the bars
_NOTICEABLE = 0.01
_MOST = 200  # steps


def render_picture(report: Report) -> str:
    """Steps of the builder itself are left out where they took no noticeable time."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from lamina.ui.report.page import TEMPLATES

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    steps = [step for step in report.steps if _shown(step, report)]
    picture = environment.get_template("timeline.svg").render(
        report=report,
        words=words,
        rows=[
            (step, _label(step), words.spans_sentence(step), parts(step, report.seconds))
            for step in steps[:_MOST]
        ],
        left_out=max(len(steps) - _MOST, 0),
        ticks=ticks(report.seconds),
    )
    return picture.encode("utf-8", "replace").decode()


def _shown(step: ReportedStep, report: Report) -> bool:
    noticeable = step.seconds >= _NOTICEABLE * report.seconds
    return not step.internal or noticeable or step.critical or bool(step.error)


def _label(step: ReportedStep) -> str:
    line = words.command_line(step.text)
    name = f"{step.where}  {line}" if step.where else line
    return name if len(name) <= _LABEL else name[: _LABEL - 1] + words.ELLIPSIS
