"""One pattern of an ignore file, made ready to match.

    *       any letters but `/`            ?    one letter but `/`
    **      any letters, also `/`          [a-z] one of a class, [^a-z] one of all others
    \\c      the letter c, mostly           !p   (in front) takes back what p matches

The reference implementation turns a pattern into a regular expression of Go's RE2 letter by
letter, brackets and backslashes as they stand. So a backslash before a letter can mean what it
means to RE2 (`\\d` is a digit), and this module reads it the same way. What cannot be said in
RE2 is an error. Sources: the Dockerfile reference, ".dockerignore file"; Go's path/filepath.Match
for what is well-formed; RE2's syntax page.
"""

from __future__ import annotations

import posixpath
import re

import msgspec

from lamina.dockerfile.problems import IgnoreFileError
from lamina.dockerfile.re2 import Re2Error, translate
from lamina.notation.gostrings import SPACES

_ESCAPED = frozenset(".+()|{}$")
_SPECIAL = frozenset("*?[]\\")


class IgnorePattern(msgspec.Struct, frozen=True, kw_only=True):
    """A clean pattern and how to match it.

    `exclusion` if a `!` stood in front; `line` is its line in the file, from 1, if it has one.
    `exact` is the one path that it matches, if there is only one; `suffix` the end that paths
    must have, with a slash in front of the path, if that is all. Otherwise `regex` decides; if
    there is none, the pattern is well-formed but cannot be matched: an error once it is tried.
    `literal` is what every path that matches starts with; `depth` how many parts it has, None for
    any number.
    """

    text: str
    exclusion: bool
    line: int | None
    literal: str
    depth: int | None
    exact: str | None = None
    suffix: str | None = None
    regex: re.Pattern[str] | None = None

    def matches(self, path: str) -> bool:
        """Whether the pattern matches this very path, without a look at its parents.

        Raises IgnoreFileError.
        """
        if self.exact is not None:
            return path == self.exact
        if self.suffix is not None:
            return f"/{path}".endswith(self.suffix)
        if self.regex is None:
            raise IgnoreFileError("syntax error in pattern", line=self.line)
        return self.regex.match(path) is not None

    def may_match_below(self, directory: str) -> bool:
        """Whether the pattern could match something in the directory, given with its last slash."""
        if self.exact is not None:
            return self.exact.startswith(directory)
        if self.depth is not None and self.depth <= directory.count("/"):
            return False
        return directory.startswith(self.literal) or self.literal.startswith(directory)


def clean_path(path: str) -> str:
    """The shortest path that means the same: no `.`, no empty part, no `..` that can be spared."""
    path = posixpath.normpath(path)
    return path[1:] if path.startswith("//") else path


def parse_ignore_pattern(text: str, *, line: int | None = None) -> IgnorePattern | None:
    """One pattern; None if it is empty. Raises IgnoreFileError."""
    text = text.strip(SPACES)
    if not text:
        return None
    text = clean_path(text)
    exclusion = text.startswith("!")
    text = text[exclusion:]
    if not text:
        raise IgnoreFileError('illegal exclusion pattern: "!"', line=line)
    try:
        _check(text)
    except Re2Error:
        raise IgnoreFileError("syntax error in pattern", line=line) from None
    return _compile(text, exclusion=exclusion, line=line)


def _check(text: str) -> None:
    """Raises Re2Error for classes that do not end, are empty, or have an end of a range alone."""
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            if at > len(text):
                raise Re2Error
        elif text[at] == "[":
            at = _check_class(text, at + 1)
        else:
            at += 1


def _check_class(text: str, at: int) -> int:
    """Where the class, whose content starts at `at`, is over."""
    at += text.startswith("^", at)
    ranges = 0
    while not (ranges and text.startswith("]", at)):
        at = _check_letter(text, at)
        if text.startswith("-", at):
            at = _check_letter(text, at + 1)
        ranges += 1
    return at + 1


def _check_letter(text: str, at: int) -> int:
    """Where the letter of a class at `at` is over; something must follow it."""
    if text[at : at + 1] in ("", "-", "]"):
        raise Re2Error
    at += text[at] == "\\"
    if at + 1 >= len(text) or "\udc80" <= text[at] <= "\udcff":
        raise Re2Error
    return at + 1


def _compile(text: str, *, exclusion: bool, line: int | None) -> IgnorePattern:
    special = next((i for i, letter in enumerate(text) if letter in _SPECIAL), len(text))
    exact = suffix = regex = None
    if special == len(text):
        exact = text
    elif text.startswith("**") and not _SPECIAL.intersection(text[2:]):
        suffix = text[2:]
    elif text.endswith("**") and special == len(text) - 2:
        regex = re.compile(re.escape(text[:-2]))
    else:
        regex = _regex("".join(_re2(text)))
    # A caret is no letter to RE2, so what stands behind one is not what paths start with. A class
    # or an escape may match a slash, as `**` does.
    any_depth = any(part in text for part in ("**", "[", "\\"))
    literal = text[:special] if exact is not None else text[:special].partition("^")[0]
    return IgnorePattern(
        text=text,
        exclusion=exclusion,
        line=line,
        literal=literal,
        depth=None if any_depth else text.count("/") + 1,
        exact=exact,
        suffix=suffix,
        regex=regex,
    )


def _regex(re2: str) -> re.Pattern[str] | None:
    try:
        return re.compile(translate(re2))
    except Re2Error:
        return None


def _re2(text: str) -> list[str]:
    """The parts of the regular expression, in RE2's syntax."""
    parts = ["^"]
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if text.startswith("**", at - 1):
            at += 1
            at += text.startswith("/", at)
            parts.append("(.*/)?" if at < len(text) else ".*")
        elif letter == "*":
            parts.append("[^/]*")
        elif letter == "?":
            parts.append("[^/]")
        elif letter in _ESCAPED:
            parts.append("\\" + letter)
        elif letter == "\\":
            parts.append("\\" + text[at : at + 1])
            at += 1
        else:
            parts.append(letter)
    return [*parts, "$"]
