"""Truth values, as Go's `strconv.ParseBool` reads them: in flags, mounts and variables alike."""

from __future__ import annotations

from typing import Final

_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")


def parse_bool(text: str) -> bool | None:
    """`1`, `t`, `true` … to a bool; None if the text is none."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    return None
