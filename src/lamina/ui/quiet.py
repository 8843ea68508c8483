"""No progress; only where a step fails, everything that it printed."""

from __future__ import annotations

import tempfile
from typing import BinaryIO

from lamina.trace import events
from lamina.trace.events import Event
from lamina.ui.printable import encode
from lamina.ui.sink import Sink

IN_MEMORY = 64 * 1024
CHUNK = 256 * 1024


class QuietProgress:
    """A watcher that keeps the output of running steps in temporary files."""

    def __init__(self, out: BinaryIO) -> None:
        self._sink = Sink(out)
        self._names: dict[int, str] = {}
        self._logs: dict[int, tempfile.SpooledTemporaryFile[bytes]] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case events.StepStarted():
                self._names[event.step] = event.name
            case events.StepOutput():
                self._log(event.step).write(event.data)
            case events.StepFinished():
                log = self._logs.pop(event.step, None)
                if event.error and not event.canceled and log is not None:
                    self._show(self._names[event.step], log)
                if log is not None:
                    log.close()
            case _:
                return

    def close(self) -> None:
        for log in self._logs.values():
            log.close()
        self._logs.clear()

    def _log(self, step: int) -> tempfile.SpooledTemporaryFile[bytes]:
        if step not in self._logs:
            self._logs[step] = tempfile.SpooledTemporaryFile(  # noqa: SIM115  # closed at the step's end
                max_size=IN_MEMORY
            )
        return self._logs[step]

    def _show(self, name: str, log: tempfile.SpooledTemporaryFile[bytes]) -> None:
        self._sink.data(b"------\n > " + encode(name) + b":\n")
        log.seek(0)
        last = b"\n"
        while chunk := log.read(CHUNK):
            self._sink.data(chunk)
            last = chunk[-1:]
        self._sink.data(b"------\n" if last == b"\n" else b"\n------\n")
