"""Progress as JSON lines: the events of the trace as they are (docs/rawjson.md)."""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from lamina.trace.events import Event
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
        return msgspec.json.encode(_unicode(msgspec.to_builtins(event)))


def _unicode(value: object) -> object:
    """The value with every byte that was no UTF-8 (a lone surrogate) replaced."""
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        case dict():
            return {key: _unicode(item) for key, item in value.items()}
        case list() | tuple():
            return [_unicode(item) for item in value]
        case _:
            return value
