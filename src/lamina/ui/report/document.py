"""The report as JSON (docs/report.md)."""

from __future__ import annotations

from typing import Any

import msgspec

from lamina.trace.record import unicode_only
from lamina.trace.report import Report
from lamina.ui.explain import explanation_json
from lamina.ui.report.words import log_lines

_LONGEST_LOG = 1 << 20


def render_document(report: Report) -> bytes:
    """One JSON object and a line end."""
    value: dict[str, Any] = msgspec.to_builtins(report)
    value["explanation"] = explanation_json(report.explanation, now=report.made)
    for told, step in zip(value["steps"], report.steps, strict=True):
        told["seconds"] = step.seconds
        if step.log is not None:
            text, whole = log_lines(step.log.data, _LONGEST_LOG)
            told["log"] = {"text": text, "size": step.log.size, "whole": whole and step.log.whole}
    for told, image in zip(value["images"], report.images, strict=True):
        told["size"], told["wasted"] = image.size, image.wasted
    return msgspec.json.encode(unicode_only(value)) + b"\n"
