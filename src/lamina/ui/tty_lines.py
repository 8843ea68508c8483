"""A board to lines of at most the terminal's width and height, each a tuple of styled pieces.

The layout is that of BuildKit's terminal progress:

    [+] Building 2.3s (5/9)
     => CACHED [2/5] WORKDIR /app                                0.0s
     => [3/5] COPY package.json .                                0.1s
     => => why: file package.json changed
     => [1/5] FROM docker.io/library/node:20                     1.2s
     => => sha256:aaaaaaaaaaaa  [#####-----]  3.15MB / 6.40MB    0.9s
     => [4/5] RUN npm install                                    2.0s
     => => # added 12 packages
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lamina.trace.events import StepFinished
from lamina.ui.board import TAIL, Board, Part, Row
from lamina.ui.quantities import render_amount

Line = tuple[tuple[str, str], ...]
"""Pieces of text, each with the name of its style ("" for none)."""

BAR = 20
SHORTEST_NAME = 12


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """`height` None: as many lines as there are. `fit` cuts and pads a text to so many cells."""

    width: int
    height: int | None
    fit: Callable[[str, int], str]
    cells: Callable[[str], int]


def render_board(board: Board, now: float, screen: Screen) -> list[Line]:
    """The lines to show at `now` seconds after the start."""
    rows = list(board.rows.values())
    final = screen.height is None
    lines = [_header(board, now, screen, final=final)]
    if screen.height is None:
        for row in rows:
            lines += _row(row, now, screen, tail=0, parts=not row.finished, why=True)
        return lines
    room = screen.height - 1 - len(lines)
    shown, tails = _choose(rows, room)
    for row in shown:
        tail = tails.get(id(row), 0)
        lines += _row(row, now, screen, tail=tail, parts=tail > 0 or not tails, why=True)
    return lines[:1] + lines[1:][-room:] if room > 0 else lines[:1]


def _choose(rows: list[Row], room: int) -> tuple[list[Row], dict[int, int]]:
    """Which rows fit, and how many lines of output each of the running ones may show.

    Running steps come first; the room that is left goes to their details, then to the steps that
    ended last. A step that ended may need a second line for its reason.
    """
    running = [row for row in rows if row.finished is None]
    kept = running[-max(room, 0) :] if room > 0 else []
    room -= len(kept)
    tails: dict[int, int] = {}
    for row in sorted(kept, key=lambda row: (-len(row.lines), -row.started)):
        details = min(TAIL, len(row.tail(TAIL))) + _part_count(row) + bool(row.why or row.note)
        granted = max(min(details, room - 2 if room > 4 else room), 0)
        tails[id(row)] = granted
        room -= granted
    chosen = {id(row) for row in kept}
    for row in reversed(rows):
        cost = 1 + bool(row.why)
        if row.finished is None:
            continue
        if cost > room:
            break
        chosen.add(id(row))
        room -= cost
    return [row for row in rows if id(row) in chosen], tails


def _part_count(row: Row) -> int:
    return sum(not part.latest.done for part in row.parts.values())


def _header(board: Board, now: float, screen: Screen, *, final: bool) -> Line:
    end = board.finished
    state = ""
    if final and end is not None:
        state = " FAILED" if end.error else " FINISHED"
    seconds = end.seconds if end is not None else now
    text = f"[+] Building {seconds:.1f}s ({board.ended()}/{len(board.rows)}){state}"
    return ((screen.fit(text, screen.width).rstrip(), "bold"),)


def _row(row: Row, now: float, screen: Screen, *, tail: int, parts: bool, why: bool) -> list[Line]:
    ended = row.finished
    word, style = _state(ended)
    lines = [_timed(" => ", word + row.name, "", row.seconds(now), screen, style)]
    budget = tail if ended is None else 1
    if screen.height is None:
        budget = 1 if row.why else 0
    if why and row.why and budget > 0:
        lines.append(_cut(f" => => why: {row.why}", screen, "dim"))
        budget -= 1
    if ended is not None or screen.height is None:
        return lines
    if row.note and not row.why and budget > 0:
        lines.append(_cut(f" => => {row.note}", screen, "dim"))
        budget -= 1
    active = [part for part in row.parts.values() if not part.latest.done]
    for part in active[: budget if parts else 0]:
        lines.append(_part(part, now, screen))
        budget -= 1
    tail_lines = row.tail(max(min(budget, TAIL), 0))
    return [*lines, *(_cut(f" => => # {text}", screen, "dim") for text in tail_lines)]


def _state(ended: StepFinished | None) -> tuple[str, str]:
    """The word before a step's name, and its style."""
    if ended is None:
        return "", ""
    if ended.canceled:
        return "CANCELED ", "yellow"
    if ended.error:
        return "ERROR ", "red"
    return ("CACHED ", "blue") if ended.cached else ("", "blue")


def _part(part: Part, now: float, screen: Screen) -> Line:
    latest = part.latest
    amount = render_amount(latest.current, latest.total, latest.unit)
    if latest.total > 1 and screen.width >= 3 * BAR:
        filled = min(BAR * latest.current // latest.total, BAR)
        amount = f"[{'#' * filled}{'-' * (BAR - filled)}] {amount}"
    what = latest.what
    if what.startswith("sha256:"):
        what = what[: len("sha256:") + 12]
    return _timed(" => => ", what, amount, max(now - part.started, 0.0), screen, "cyan")


def _timed(prefix: str, name: str, status: str, seconds: float, screen: Screen, style: str) -> Line:
    """A line with its timer at the right edge; what does not fit of the name is cut."""
    timer = f" {seconds:.1f}s"
    left = screen.width - len(prefix) - len(timer)
    if status and left - len(status) - 1 >= SHORTEST_NAME:
        name = f"{screen.fit(name, min(left - len(status) - 1, screen.cells(name)))} {status}"
    if left < 1:
        return ((screen.fit(prefix + name, max(screen.width, 1)), style),)
    return ((prefix, "dim"), (screen.fit(name, left), style), (timer, style))


def _cut(text: str, screen: Screen, style: str) -> Line:
    return ((screen.fit(text, screen.width).rstrip(), style),)
