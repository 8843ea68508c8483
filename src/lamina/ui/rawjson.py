"""Progress as JSON lines: the events of the trace as they are (docs/rawjson.md)."""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from lamina.trace.events import Event
from lamina.trace.record import unicode_only
from lamina.ui.sink import Sink


class RawJsonProgress:
    """A watcher that writes every event to `out` as it comes, one a line."""

    def __init__(self, out: BinaryIO) -> None:
        self._sink = Sink(out)

    def __call__(self, event: Event) -> None:
        self._sink.data(render_event(event) + b"\n")

    def close(self) -> None:
        """Nothing is left to be written."""


def render_event(event: Event) -> bytes:
    """The event as one line of JSON: bytes as base64, U+FFFD for what is not Unicode in a text."""
    try:
        return msgspec.json.encode(event)
    except UnicodeEncodeError:
        return msgspec.json.encode(unicode_only(msgspec.to_builtins(event)))
