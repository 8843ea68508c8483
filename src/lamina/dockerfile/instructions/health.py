"""`HEALTHCHECK CMD …` and its durations."""

from __future__ import annotations

from lamina.dockerfile.instructions.commands import Health
from lamina.dockerfile.instructions.flags import Flags, parse_flags
from lamina.dockerfile.problems import InstructionError
from lamina.dockerfile.syntax import Instruction
from lamina.notation.gostrings import quote
from lamina.notation.sizes import parse_duration

_MILLISECOND = 1_000_000
_DURATIONS = ("interval", "timeout", "start-period", "start-interval")


def parse_health(node: Instruction) -> Health:
    """The check of a HEALTHCHECK with at least one argument. Raises InstructionError."""
    kind, *words = node.args
    kind = kind.upper()
    if kind == "NONE":
        if words:
            raise InstructionError("HEALTHCHECK NONE takes no arguments")
        return Health(test=("NONE",))
    flags = parse_flags(node.flags, value=(*_DURATIONS, "retries"))
    if kind != "CMD":
        raise InstructionError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    if not words:
        raise InstructionError("Missing command after HEALTHCHECK CMD")
    test = ("CMD", *words) if node.json else ("CMD-SHELL", " ".join(words))
    interval, timeout, start_period, start_interval = (
        _duration(flags, name) for name in _DURATIONS
    )
    return Health(
        test=test,
        interval=interval,
        timeout=timeout,
        start_period=start_period,
        start_interval=start_interval,
        retries=_retries(flags.value("retries")),
    )


def _duration(flags: Flags, name: str) -> int:
    text = flags.value(name)
    if not text:
        return 0
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise InstructionError(str(error)) from None
    if duration and duration < _MILLISECOND:
        raise InstructionError(f"Interval {quote(name)} cannot be less than 1ms")
    return duration


def _retries(text: str) -> int:
    if not text:
        return 0
    digits = text[1:] if text[0] in "+-" else text
    if not digits or digits.strip("0123456789"):
        raise InstructionError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    sign = -1 if text.startswith("-") else 1
    significant = digits.lstrip("0") or "0"
    if len(significant) > 10 or not -(2**31) <= (number := sign * int(significant)) < 2**31:
        raise InstructionError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    if number < 0:
        raise InstructionError(f"--retries cannot be negative ({number})")
    return number
