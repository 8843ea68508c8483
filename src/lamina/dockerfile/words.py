"""An instruction's arguments to words: blanks, quotes, `name=value`, and the flags before them.

Quotes and escapes stay in the words, for expansion to take away; only flags lose them here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.dockerfile.problems import DockerfileSyntaxError
from lamina.notation.gostrings import SPACES, is_space, quote

# Narrower than SPACES, and on purpose: a no-break space does not separate plain arguments.
_BLANKS = re.compile(r"[\t\v\f\r ]+")


def split_blanks(text: str) -> tuple[str, ...]:
    """What stands between blanks; an empty text has no parts."""
    return tuple(_BLANKS.split(text)) if text else ()


def split_keyword(line: str) -> tuple[str, str]:
    """The first word of a line, and the rest of it."""
    keyword, *rest = _BLANKS.split(line.strip(SPACES), maxsplit=1)
    return keyword, rest[0] if rest else ""


def split_words(text: str, *, escape: str) -> tuple[str, ...]:
    """The words of `text`; blanks within quotes or behind an escape letter do not separate."""
    return tuple(word for word, _ in _words(text, escape=escape, bare=False))


def split_flags(text: str, *, escape: str) -> tuple[tuple[str, ...], str]:
    """The words before the first that does not start with `--`, unquoted, and what follows them.

    A lone `--` ends the flags.
    """
    flags: list[str] = []
    at = 0
    for word, end in _words(text, escape=escape, bare=True):
        start = len(text) - len(text[at:].lstrip(SPACES))
        if not text.startswith("--", start):
            return tuple(flags), text[start:].strip(SPACES)
        at = end
        if word == "--":
            break
        flags.append(word)
    return tuple(flags), text[at:].strip(SPACES)


def _words(text: str, *, escape: str, bare: bool) -> Iterator[tuple[str, int]]:
    """Each word with the index behind it, without its quotes and escape letters if `bare`.

    A word of nothing but empty quotes is a word. In single quotes the escape letter is an
    ordinary one, unless `bare`: flags know no difference between the two quotes.
    """
    letters: list[str] = []
    quoted, mark = False, ""
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if not mark and is_space(letter):
            if letters or quoted:
                yield "".join(letters), at - 1
            letters, quoted = [], False
            continue
        if letter == escape and (bare or mark != "'"):
            if at == len(text):
                break  # an escape letter at the very end is dropped
            letters.append(text[at] if bare else letter + text[at])
            at += 1
            continue
        if letter in ("'", '"') and (not mark or letter == mark):
            mark, quoted = "" if mark else letter, True
            if bare:
                continue
        letters.append(letter)
    if letters or quoted:
        yield "".join(letters), len(text)


def parse_pairs(text: str, *, keyword: str, escape: str) -> tuple[tuple[str, str, str], ...]:
    """`name=value …` or the old `name value` as (name, value, "=" or ""). Raises
    DockerfileSyntaxError.
    """
    words = split_words(text, escape=escape)
    if not words:
        return ()
    if "=" not in words[0]:
        name, *value = _BLANKS.split(text, maxsplit=1)
        if not value:
            raise DockerfileSyntaxError(f"{keyword} must have two arguments")
        return ((name, value[0], ""),)
    pairs = []
    for word in words:
        name, equals, value_ = word.partition("=")
        if not equals:
            raise DockerfileSyntaxError(
                f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value"
            )
        pairs.append((name, value_, equals))
    return tuple(pairs)
