"""Progress on a terminal: one line a step, redrawn in place at most ten times a second."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, BinaryIO, cast

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style

from lamina.trace.events import Event
from lamina.ui.board import KEPT_FOR_FAILURE, Board
from lamina.ui.outline import failure_block, warnings_block
from lamina.ui.sink import Sink
from lamina.ui.ticker import Ticker
from lamina.ui.tty_lines import Line, Screen, render_board

INTERVAL = 0.1


class TerminalProgress:
    """A watcher that draws on `out`, a terminal. Close it at the end, also after a failure."""

    def __init__(
        self,
        out: BinaryIO,
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = Sink(out)
        self._clock = clock
        self._offset: float | None = None
        self._lock = threading.Lock()
        self._board = Board()
        self._final = False
        self._console = Console(
            file=cast(IO[str], _Text(self._sink, out)),
            force_terminal=True,
            highlight=False,
            markup=False,
            emoji=False,
            _environ=environ,
        )
        self._live = Live(
            get_renderable=lambda: _Drawing(self._lines),
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._ticker = Ticker(INTERVAL, self._live.refresh)

    def __call__(self, event: Event) -> None:
        with self._lock:
            first = self._offset is None
            if first:
                self._offset = self._clock() - event.time
            self._board.take(event)
        if first:
            self._live.start()
            self._ticker.start()

    def close(self) -> None:
        """Draw the last state whole and leave it on the screen, then the output of failed steps."""
        self._ticker.stop()
        if self._offset is not None:
            self._final = True
            self._live.stop()
        for row in self._board.rows.values():
            if row.failed():
                lines = [line.encode() for line in row.tail(KEPT_FOR_FAILURE)]
                self._sink.data(failure_block(row.name, lines))
        self._sink.text(warnings_block(self._board.warnings))

    def _lines(self, width: int, height: int) -> list[Line]:
        screen = Screen(
            width=width,
            height=None if self._final else height,
            fit=set_cell_size,
            cells=cell_len,
        )
        with self._lock:
            now = self._clock() - (self._offset or 0.0)
            return render_board(self._board, now, screen)


class _Drawing:
    """What rich asks for the lines; they are cut to the width already."""

    def __init__(self, lines: Callable[[int, int], list[Line]]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines(options.max_width, options.size.height):
            for text, style in line:
                yield Segment(text, Style.parse(style) if style else None)
            yield Segment.line()


class _Text(io.TextIOBase):
    """The text stream that rich writes to, over the sink that never fails."""

    def __init__(self, sink: Sink, out: BinaryIO) -> None:
        self._sink = sink
        self._out = out

    def write(self, text: str) -> int:
        self._sink.text(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def fileno(self) -> int:
        return self._out.fileno()

    def isatty(self) -> bool:
        return self._out.isatty()

    encoding = "utf-8"
