"""Regular expressions of RE2's syntax, as far as ignore patterns can make them, to Python's.

What differs: RE2 knows `\\z`, `\\Q…\\E`, octal escapes and `[[:alpha:]]`; its `\\d`, `\\s`, `\\w`
are ASCII; `\\s` does not hold the vertical tab; a backslash before a letter with no meaning is an
error. Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re

_CLASSES = {
    "d": "0-9",
    "s": r"\t\n\f\r ",
    "w": "0-9A-Za-z_",
    "D": r"\x00-/:-\U0010ffff",
    "S": r"\x00-\x08\x0b\x0e-\x1f!-\U0010ffff",
    "W": r"\x00-/:-@\[-\^`{-\U0010ffff",
}
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTIONS = {"A": r"\A", "z": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}
_NAMED = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_OCTAL = re.compile("[1-7][0-7]{1,2}|0[0-7]{0,2}")
_HEX = re.compile("x([0-9A-Fa-f]{2})")
_NAME = re.compile(r"\[:(\^?)(.*?):\]", re.DOTALL)


class Re2Error(ValueError):
    """The pattern is none of RE2's."""


def translate(pattern: str) -> str:
    """The pattern in Python's syntax, to be used with `match`. Raises Re2Error.

    Every match ends at the end of the text where the pattern says `$`.
    """
    out: list[str] = []
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "[":
            part, at = _class(pattern, at + 1)
        elif letter == "\\":
            part, at = _escape(pattern, at + 1)
        else:
            part = {"$": r"\Z", "^": r"\A"}.get(letter, letter)
            if letter not in "^$.*?()":
                part = re.escape(letter)
            at += 1
        out.append(part)
    text = "".join(out)
    try:
        re.compile(text)
    except re.error:
        raise Re2Error(pattern) from None
    return text


def _escape(pattern: str, at: int) -> tuple[str, int]:
    """What the escape with the letter at `at` means outside a class, and where it is over."""
    letter = pattern[at : at + 1]
    if letter == "Q":
        literal, _, _ = pattern[at + 1 :].partition("\\E")
        return re.escape(literal), at + 1 + len(literal) + 2
    if letter in _ASSERTIONS:
        return _ASSERTIONS[letter], at + 1
    if letter in _CLASSES:
        return f"[{_CLASSES[letter]}]", at + 1
    literal, end = _letter(pattern, at)
    return re.escape(literal), end


def _letter(pattern: str, at: int) -> tuple[str, int]:
    """The one letter that the escape at `at` means, and where it is over."""
    letter = pattern[at : at + 1]
    if letter in _CONTROLS:
        return _CONTROLS[letter], at + 1
    if letter and letter < "\x80" and not letter.isalnum():
        return letter, at + 1
    if match := _OCTAL.match(pattern, at):
        return chr(int(match[0], 8)), match.end()
    if match := _HEX.match(pattern, at):
        return chr(int(match[1], 16)), match.end()
    raise Re2Error(pattern)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The class whose content starts at `at`, and where it is over."""
    negated = pattern.startswith("^", at)
    at += negated
    out: list[str] = []
    while not (out and pattern.startswith("]", at)):
        if match := _NAME.match(pattern, at):
            out.append(_named(match))
            at = match.end()
            continue
        if pattern.startswith("\\", at) and pattern[at + 1 : at + 2] in tuple(_CLASSES):
            out.append(_CLASSES[pattern[at + 1]])
            at += 2
            continue
        low, at = _member(pattern, at)
        high = low
        if pattern.startswith("-", at) and not pattern.startswith("-]", at):
            high, at = _member(pattern, at + 1)
        if low > high:
            raise Re2Error(pattern)
        out.append(f"{_code(low)}-{_code(high)}")
    return f"[{'^' * negated}{''.join(out)}]", at + 1


def _named(match: re.Match[str]) -> str:
    members = _NAMED.get(match[2])
    if members is None:
        raise Re2Error(match[0])
    if not match[1]:
        return members
    inside = re.compile(f"[{members}]")
    others = [chr(code) for code in range(0x80) if not inside.match(chr(code))]
    return "".join(map(_code, others)) + r"\x80-\U0010ffff"


def _member(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        raise Re2Error(pattern)
    if pattern[at] == "\\":
        return _letter(pattern, at + 1)
    return pattern[at], at + 1


def _code(letter: str) -> str:
    return f"\\U{ord(letter):08x}"
