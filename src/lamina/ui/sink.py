"""Where progress is written to: a stream that may go away, which must not fail a build."""

from __future__ import annotations

import select
from typing import BinaryIO

from lamina.ui.printable import encode


class Sink:
    """Writes all that it is given; after a failure (a closed pipe, a full disk) nothing more."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._gone = False

    def text(self, text: str) -> None:
        self.data(encode(text))

    def data(self, data: bytes) -> None:
        if self._gone or not data:
            return
        try:
            self._write(memoryview(data))
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._gone = True

    def _write(self, rest: memoryview) -> None:
        while rest:
            written = self._stream.write(rest)
            if written is None:  # a terminal that another program has set to non-blocking
                select.select([], [self._stream], [], 1)
                continue
            rest = rest[written:]
        self._stream.flush()
