"""Numbers as people read them: bytes, seconds, ages."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def render_bytes(count: int) -> str:
    """Bytes in decimal units with two digits (`3.15MB`), whole below 1000 (`512B`)."""
    value, unit = float(count), 0
    while abs(value) >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{count}B" if unit == 0 else f"{value:.2f}{_UNITS[unit]}"


def render_amount(current: int, total: int, unit: str) -> str:
    """How much is done: `3.15MB / 3.40MB`, `12 / 40 files`; "" where there is nothing to say.

    The unit is "bytes", or a plural; "" for a part that is a step of its own, done or not.
    """
    if not unit:
        return f"{current} / {total}" if total > 1 else ""
    if unit == "bytes":
        if total:
            return f"{render_bytes(current)} / {render_bytes(total)}"
        return render_bytes(current) if current else ""
    if total:
        return f"{current} / {total} {unit}"
    return f"{current} {unit}" if current else ""


def render_moment(seconds: float) -> str:
    """Seconds since a step's start with at least four digits, as they stand before its output."""
    if seconds < 10:
        return f"{seconds:.3f}"
    return f"{seconds:.2f}" if seconds < 100 else f"{seconds:.1f}"


def render_age(seconds: float) -> str:
    """How long ago, in the largest unit that fits: `3 hours ago`."""
    for unit, length in _LENGTHS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


_LENGTHS = (
    ("year", 365 * 86400),
    ("month", 30 * 86400),
    ("week", 7 * 86400),
    ("day", 86400),
    ("hour", 3600),
    ("minute", 60),
    ("second", 1),
)
