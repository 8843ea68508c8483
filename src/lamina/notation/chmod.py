"""The modes that `--chmod` gives: octal, or symbolic as chmod(1) of BSD reads it.

`u=rwX,go=rX`: who (`u`, `g`, `o`, `a`, or nobody for everybody; there is no umask), then `+`, `-`
or `=` with letters of `rwxXst`, or one of `u`, `g`, `o`, whose bits are copied.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from lamina.errors import UserError

DEFAULT_DIRECTORY: Final = 0o755

_WHO: Final = {"u": 0o4700, "g": 0o2070, "o": 0o0007, "a": 0o6777}
_BITS: Final = {"r": 0o444, "w": 0o222, "x": 0o111}
_SHIFTS: Final = {"u": 6, "g": 3, "o": 0}
_EVERYBODY: Final = 0o6777
_STICKY: Final = 0o1000
_EXECUTE: Final = 0o111
_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[-+=][rwxXstugo]*)+)\Z")
_ACTION: Final = re.compile(r"([-+=])([rwxXstugo]*)")

Step = Callable[[int, int, bool], int]
"""From the old mode, the mode so far, and whether it is a directory, to the new mode."""


class ModeChange(msgspec.Struct, frozen=True):
    """What becomes of the mode of a copied file, and what mode created parents have."""

    steps: tuple[Step, ...]
    parents: int = DEFAULT_DIRECTORY

    def apply(self, mode: int, *, is_directory: bool) -> int:
        """The new mode of what has `mode` in the source."""
        now = mode
        for step in self.steps:
            now = step(mode, now, is_directory)
        return now


def parse_mode_change(text: str | None) -> ModeChange:
    """`--chmod`'s value; None keeps all modes. Raises UserError."""
    if not text:
        return ModeChange(())
    if text[0].isdigit():
        if not re.fullmatch(r"0*[0-7]{1,4}", text):
            raise _invalid(text)
        mode = int(text, 8)
        # Parents are made with the permission bits alone.
        return ModeChange((lambda _old, _now, _directory: mode,), parents=mode & 0o777)
    steps: list[Step] = []
    for clause in text.split(","):
        match = _CLAUSE.match(clause)
        if match is None:
            raise _invalid(text)
        who = 0
        for letter in match[1]:
            who |= _WHO[letter]
        for operator, letters in _ACTION.findall(match[2]):
            if "t" in letters and _is_special(who):
                who |= _STICKY if who else 0
            steps += _steps(who, operator, letters)
    return ModeChange(tuple(steps))


def _invalid(text: str) -> UserError:
    return UserError(
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
        hint="write 0755 or u=rwX,go=rX",
    )


def _is_special(who: int) -> bool:
    """Whether `s` and `t` mean something: they do not for others alone."""
    return who == 0 or bool(who & ~0o007)


def _steps(who: int, operator: str, letters: str) -> list[Step]:
    """The letters from left to right; a copy ends what was gathered before it."""
    steps: list[Step] = []
    bits = execute = 0
    cleared = False

    def flush(*, at_end: bool) -> None:
        nonlocal bits, execute, cleared
        if bits or (at_end and operator == "=" and not cleared):
            if operator == "=":
                steps.append(_setting(who or _EVERYBODY, clear=True))
            steps.append(_setting(bits & (who or 0o7777), clear=operator == "-"))
        if execute:
            steps.append(_executing(execute & (who or 0o7777)))
        bits = execute = 0

    for letter in letters:
        if letter in _SHIFTS:
            flush(at_end=False)
            cleared = True
            steps.append(_copying(letter, who, operator))
        elif letter == "X" and operator != "-":
            execute = _EXECUTE
        elif letter in "st":
            bits |= {"s": 0o6000, "t": _STICKY}[letter] if _is_special(who) else 0
        else:
            bits |= _BITS[letter.lower()]
    flush(at_end=True)
    return steps


def _setting(bits: int, *, clear: bool) -> Step:
    if clear:
        return lambda _old, now, _directory: now & ~bits
    return lambda _old, now, _directory: now | bits


def _executing(bits: int) -> Step:
    return lambda old, now, directory: now | bits if directory or old & _EXECUTE else now


def _copying(source: str, who: int, operator: str) -> Step:
    reach = who & 0o777 or 0o777

    def step(_old: int, now: int, _directory: bool) -> int:
        three = now >> _SHIFTS[source] & 0o7
        bits = (three << 6 | three << 3 | three) & reach
        if operator == "-":
            return now & ~bits
        return (now & ~reach if operator == "=" else now) | bits

    return step
