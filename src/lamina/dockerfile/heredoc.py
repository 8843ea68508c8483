"""Heredocs: the words that announce them, and the lines that fill them.

    RUN <<EOF            until a line that is just EOF, with variables
    RUN 3<<-"EOF" sh     with a file descriptor; leading tabs are dropped; no variables
    COPY <<a <<b /       several, one after the other

POSIX, Shell Command Language, 2.7.4; only here a blank may stand before the name.
"""

from __future__ import annotations

import re

import msgspec

from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.problems import ExpansionError

_WORD = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
_MAX_UINT64 = 2**64 - 1
_MAX_DIGITS = 100  # the rest changes nothing, and Python refuses to convert very many

_LINE_LEXER = Lexer(raw_quotes=True, raw_escapes=True, skip_unset=True)
_NAME_LEXER = Lexer(skip_unset=True)
_RAW_NAME_LEXER = Lexer(raw_quotes=True, skip_unset=True)


class Heredoc(msgspec.Struct, frozen=True, kw_only=True):
    """One heredoc; `content` is as written, tabs included, up to the line with the name."""

    name: str
    file_descriptor: int = 0
    expand: bool = True
    chomp: bool = False
    content: str = ""

    def ends_at(self, line: str) -> bool:
        """Whether the line, with or without its line end, is the one with the name."""
        line = line.rstrip("\r\n")
        return (line.lstrip("\t") if self.chomp else line) == self.name


def parse_heredoc(word: str) -> Heredoc | None:
    """The heredoc that a word announces, without content; None if it announces none.

    Raises ExpansionError if the quotes of the name do not match.
    """
    match = _WORD.fullmatch(word)
    if match is None or not match[3]:
        return None
    names = _NAME_LEXER.words(match[3], {})
    if len(names) != 1:
        return None
    raw_name = "".join(_RAW_NAME_LEXER.words(match[3], {}))
    return Heredoc(
        name=names[0],
        file_descriptor=min(int(match[1][:_MAX_DIGITS] or "0"), _MAX_UINT64),
        # A name that lost quotes was quoted, at least in a part: no variables.
        expand=_quotes(names[0]) == _quotes(raw_name),
        chomp=match[2] == "-",
    )


def find_heredocs(line: str) -> tuple[Heredoc, ...]:
    """The heredocs that the words of a line announce, in order. Raises ExpansionError."""
    try:
        words = _LINE_LEXER.words(line, {})
    except ExpansionError:
        return ()  # a shell may well understand what is no word here
    found = (parse_heredoc(word) for word in words)
    return tuple(heredoc for heredoc in found if heredoc is not None)


def chomp(content: str) -> str:
    """The content of a `<<-` heredoc without the tabs that its lines start with."""
    return _LEADING_TABS.sub("", content)


def heredoc_or_none(word: str) -> Heredoc | None:
    """`parse_heredoc`, where a name with unmatched quotes is taken for none."""
    try:
        return parse_heredoc(word)
    except ExpansionError:
        return None


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
