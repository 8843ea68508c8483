"""The build context of a recorded build, as it is now."""

from __future__ import annotations

import io
import os

from lamina.advisor.ignorable import ignorable
from lamina.context.survey import Survey
from lamina.control.building.inputs import open_inputs
from lamina.control.context import survey
from lamina.control.reporting.layers import shown
from lamina.control.request import BuildRequest
from lamina.control.store import Store
from lamina.errors import LaminaError
from lamina.layer.entry import Kind
from lamina.source import SourceFile
from lamina.trace.record import BuildRecord
from lamina.trace.report import ReportedContext, Sized, Suggestion

_LARGEST = 8  # files, folders and lines for the ignore file that are named
_MOST = 200_000  # files: more would take longer than anybody waits for a report


def look_at_context(store: Store, record: BuildRecord) -> ReportedContext:
    """What the context holds, or why that is not known."""
    place = record.context
    if record.imported:
        return ReportedContext(place=place, unknown="it was built on another machine")
    if place == "-" or "://" in place:
        return ReportedContext(place=place, unknown="it was received, and is not kept")
    if not os.path.isdir(place):
        return ReportedContext(place=place, unknown="the folder is not there any more")
    try:
        with open_inputs(_request(record), store, _text(record), {}) as inputs:
            dockerfile = SourceFile(record.dockerfile or "Dockerfile", record.text)
            arguments = record.request.get("build_args", {})
            found = survey(inputs.context, dockerfile, inputs.ignore, arguments, most=_MOST)
    except (LaminaError, OSError) as error:
        return ReportedContext(place=place, unknown=str(error))
    return _reported(place, found)


def _request(record: BuildRecord) -> BuildRequest:
    """With the Dockerfile as it was; but one that has an ignore file of its own is read anew."""
    named = os.path.join(record.context, record.request.get("dockerfile", "") or "Dockerfile")
    own = os.path.isfile(f"{named}.dockerignore") and os.path.isfile(named)
    return BuildRequest(context=record.context, dockerfile=named if own else "-")


def _text(record: BuildRecord) -> io.BytesIO:
    return io.BytesIO(record.text.encode("utf-8", "surrogateescape"))


def _reported(place: str, found: Survey) -> ReportedContext:
    files = [one for one in found.kept if one.kind is not Kind.DIRECTORY]
    unused = found.unused()
    largest = sorted(files, key=lambda one: (-one.size, one.path))[:_LARGEST]
    folders = sorted(found.folders().items(), key=lambda item: (-item[1], item[0]))[:_LARGEST]
    return ReportedContext(
        place=place,
        files=len(files),
        size=sum(one.size for one in files),
        unused=len(unused),
        unused_size=sum(one.size for one in unused),
        largest=tuple(Sized(path=shown(one.path), size=one.size) for one in largest if one.size),
        folders=tuple(Sized(path=shown(path), size=size) for path, size in folders if size),
        suggestions=tuple(
            Suggestion(pattern=line.pattern, count=line.count, size=line.size, why=line.why)
            for line in ignorable(found)[:_LARGEST]
        ),
    )
