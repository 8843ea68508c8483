"""A forecast as text and as JSON."""

from __future__ import annotations

import msgspec

from lamina.advisor.forecast import Forecast, ForecastStep, Replay, StepName, Total
from lamina.ui.printable import one_line
from lamina.ui.report.words import NARROW, duration
from lamina.ui.table import render_table

_VERSION = 1
_TEXT = 64  # letters of a step's name in the table
_NONE = "-"


def render_forecast(found: Forecast) -> str:
    """A table of the steps, what is not known, and the whole in one line at the end."""
    title = f"{found.before}, {_commits(len(found.counted()))}"
    if found.after:
        title = f"before: {title}\nafter:  {found.after}, the same commits"
    table = render_table(*_table(found))
    notes = "".join(f"- {one_line(note)}\n" for note in found.notes)
    return f"{title}\n\n{table}\n{notes}\n{summary(found)}\n"


def summary(found: Forecast) -> str:
    """`hit rate 12 % → 81 %; 4 min 10 s saved per build over the last 200 commits`"""
    before, after = found.total(after=False), found.total(after=True)
    over = f"over the last {_commits(before.builds)}"
    if not before.builds:
        return "no commit would build: there is nothing to compare"
    rate = f"hit rate {_percent(before.rate)}"
    if found.after:
        rate += f" → {_percent(after.rate)}"
        saved = found.saved()
        if saved is None:
            return f"{rate} {over}; times are not known"
        told = f"{_time(abs(saved))} {'saved' if saved >= 0 else 'lost'} per build"
        return f"{rate}; {told} {over}"
    if not before.timed:
        return f"{rate} {over}; times are not known"
    return f"{rate}; {_time(before.seconds / before.builds)} of steps per build {over}"


def render_json(found: Forecast) -> bytes:
    """One object: totals, every step, and every commit with its steps."""
    before, after = found.total(after=False), found.total(after=True)
    document = {
        "version": _VERSION,
        "summary": summary(found),
        "asked": found.asked,
        "before": {"dockerfile": found.before, **_total(before)},
        "after": {"dockerfile": found.after, **_total(after)} if found.after else None,
        "saved": found.saved(),
        "notes": found.notes,
        "steps": [
            {
                **_name(row.name),
                "before": _total(row.before) if row.before else None,
                "after": _total(row.after) if row.after else None,
            }
            for row in found.rows()
        ],
        "commits": [
            {
                "id": commit.id,
                "time": commit.time,
                "subject": commit.subject,
                "counts": commit.counts,
                "before": _replay(commit.before),
                "after": _replay(commit.after) if commit.after is not None else None,
            }
            for commit in found.commits
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def step_label(name: StepName) -> str:
    """`build: RUN make`"""
    text = " ".join(one_line(name.text).replace("\\ ", " ").split())
    return f"{name.stage}: {text}" if name.stage else text


def _table(found: Forecast) -> tuple[list[str], list[list[str]]]:
    header = ["step", "builds", "hits", "misses", "time"]
    if found.after:
        header += ["after: hits", "misses", "time"]
    rows = []
    for row in found.rows():
        count = (row.before or row.after or Total()).builds
        cells = [_shortened(step_label(row.name)), str(count), *_cells(row.before)]
        rows.append(cells + (_cells(row.after) if found.after else []))
    before, after = found.total(after=False), found.total(after=True)
    last = ["all", str(before.builds), *_cells(before)]
    rows.append(last + (_cells(after) if found.after else []))
    return header, rows


def _cells(total: Total | None) -> list[str]:
    if total is None:
        return [_NONE] * 3
    return [str(total.hits), str(total.misses), _lost(total)]


def _lost(total: Total) -> str:
    if not total.timed:
        return "unknown"
    return _time(total.seconds) + (" and more" if total.unknown else "")


def _time(seconds: float) -> str:
    return duration(seconds).replace(NARROW, " ")


def _percent(rate: float) -> str:
    return f"{rate * 100:.0f} %"


def _commits(count: int) -> str:
    return "1 commit" if count == 1 else f"{count} commits"


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"


def _total(total: Total) -> dict[str, object]:
    return {
        "builds": total.builds,
        "hits": total.hits,
        "misses": total.misses,
        "rate": total.rate,
        "seconds": total.seconds if total.timed else None,
        "unknown": total.unknown,
    }


def _name(name: StepName) -> dict[str, object]:
    return {"stage": name.stage, "text": _spelled(name.text), "turn": name.turn}


def _replay(replay: Replay) -> dict[str, object]:
    return {"error": replay.error or None, "steps": list(map(_step, replay.steps))}


def _step(step: ForecastStep) -> dict[str, object]:
    return {**_name(step.name), "hit": step.hit, "seconds": step.seconds}


def _spelled(text: str) -> str:
    """JSON knows no bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
