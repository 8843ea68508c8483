"""The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?` and backslash, but no brackets.

POSIX, Shell Command Language, 2.13.1. Neither `*` nor `?` matches a line end.
"""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")


class PatternError(ValueError):
    """The pattern escapes a letter that needs no escape."""

    def __init__(self, pattern: str, message: str) -> None:
        super().__init__(message)
        self.pattern = pattern


def trim_prefix(pattern: str, value: str, *, longest: bool) -> str:
    """The value without the prefix that matches. Raises PatternError."""
    match = _compile(pattern, longest=longest).match(value)
    return value if match is None else value[match.end() :]


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    """The value without the suffix that matches. Raises PatternError.

    Both are turned around, because regular expressions find the shortest match from the left.
    """
    return trim_prefix(_turned(pattern), value[::-1], longest=longest)[::-1]


def replace_matches(pattern: str, value: str, replacement: str, *, everywhere: bool) -> str:
    """The value with the first, or every, longest match replaced. Raises PatternError.

    In the replacement of every match, and there only, `$0` is the match and other `$` references
    are empty: so it is in the reference implementation.
    """
    regex = _compile(pattern, longest=True)
    if not everywhere:
        return regex.sub(lambda _: replacement, value, count=1)
    result: list[str] = []
    at, last = 0, -1
    for match in regex.finditer(value):
        if match.start() == match.end() == last:
            continue  # nothing is found right behind the last match
        result += [value[at : match.start()], _filled(replacement, match[0])]
        at = last = match.end()
    return "".join(result) + value[at:]


def _filled(replacement: str, match: str) -> str:
    def reference(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        return match if not name.strip("0") else ""

    return _REFERENCE.sub(reference, replacement) if "$" in replacement else replacement


def _turned(pattern: str) -> str:
    """The pattern from its end, each escape still before the letter that it escapes."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join(reversed(parts))


def _compile(pattern: str, *, longest: bool) -> re.Pattern[str]:
    """The pattern as a regular expression. Raises PatternError.

    A star takes as little as it can up to what follows it, and never gives that back (an atomic
    group): the first place where the next letters are found is as good as any later one, and so
    the search stays linear. Only the last star decides between the shortest and the longest
    match. With line ends in the pattern the argument fails, so there backtracking is let be.
    """
    parts = _parts(pattern)
    atomic = "\n" not in pattern
    out = [parts[0]]
    for index, part in enumerate(parts[1:], 2):
        is_last = index == len(parts)
        if not atomic:
            out.append((".*" if longest else ".*?") + part)
        elif is_last and longest:
            out.append(".*" + part)
        else:
            out.append(f"(?>.*?{part})")
    return re.compile("".join(out))


def _parts(pattern: str) -> list[str]:
    """What stands between the stars, as regular expressions."""
    parts = [""]
    letters = iter(pattern)
    for letter in letters:
        if letter == "*":
            parts.append("")
            continue
        if letter == "?":
            parts[-1] += "."
            continue
        literal = letter
        if letter == "\\":
            literal = next(letters, "")
            if literal not in ("*", "?", "\\", "}", "/"):
                raise PatternError(pattern, f"invalid escape '\\{literal or chr(0xFFFD)}'")
        parts[-1] += re.escape(literal)
    return parts
