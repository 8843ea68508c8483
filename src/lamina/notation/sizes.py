"""Sizes (`64m`) and durations (`1m30s`) as the flags of instructions write them."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SUFFIX = re.compile(r"(?:([kmgtp])(?:i?b)?|b)?")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_MAX_INT64 = 2**63 - 1


def parse_size(text: str) -> int:
    """A number of bytes from a number and a binary unit (`64m`, `1.5GiB`). Raises ValueError."""
    last = max((i for i, letter in enumerate(text) if letter in "0123456789. "), default=-1)
    number, suffix = text[: last + 1], text[last + 1 :].lower()
    number = number.removesuffix(" ")
    if last < 0 or not _NUMBER.fullmatch(number):
        raise ValueError(f"invalid size: '{text}'")
    value = float(number)
    match = _SUFFIX.fullmatch(suffix)
    if match is None:
        raise ValueError(f"invalid suffix: '{suffix}'")
    if match[1]:
        value *= 1024 ** _POWERS[match[1]]
    if not 0 <= value <= _MAX_INT64:
        raise ValueError(f"invalid size: '{text}'")
    return int(value)


def gibibytes(count: int) -> str:
    """`7.8 GiB`, `65 MiB`: memory is counted in binary units."""
    if count >= 1 << 30:
        return f"{count / (1 << 30):.1f} GiB"
    return f"{round(count / (1 << 20))} MiB"


_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
_PART = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<unit>[^0-9.]*)")


def parse_duration(text: str) -> int:
    """Nanoseconds from a sequence of numbers with units (`1h15m`, `1.5s`). Raises ValueError."""
    quoted = _quote(text)
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    from fractions import Fraction

    total = 0
    while rest or not total:
        match = _PART.match(rest)
        if match is None:
            raise ValueError(f"time: invalid duration {quoted}")
        unit = match["unit"]
        if not unit:
            raise ValueError(f"time: missing unit in duration {quoted}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {_quote(unit)} in duration {quoted}")
        total += int(Fraction(match["number"].rstrip(".")) * _UNITS[unit])
        if total > _MAX_INT64:
            raise ValueError(f"time: invalid duration {quoted}")
        rest = rest[match.end() :]
        if not rest:
            break
    return sign * total


def _quote(text: str) -> str:
    """Quoted byte by byte: what is not ASCII is escaped."""
    letters = []
    for byte in text.encode("utf-8", "surrogateescape"):
        letter = chr(byte)
        if letter in '"\\':
            letters.append("\\" + letter)
        elif 0x20 <= byte < 0x80:
            letters.append(letter)
        else:
            letters.append(f"\\x{byte:02x}")
    return '"' + "".join(letters) + '"'
