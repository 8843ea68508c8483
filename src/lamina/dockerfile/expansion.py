"""Variables and quotes in the words of instructions: `$VAR`, `${VAR:-default}`, `"…"`, `\\$`.

A small part of the shell's word expansion (POSIX, Shell Command Language, 2.6.2), with the
pattern forms of bash:

    ${v:-w} ${v-w}   w if v is empty or unset; if it is unset
    ${v:+w} ${v+w}   w if v is not empty; if it is set
    ${v:?w} ${v?w}   an error that says w if v is empty or unset; if it is unset
    ${v#p}  ${v##p}  v without the shortest, the longest prefix that matches p
    ${v%p}  ${v%%p}  the same for a suffix
    ${v/p/r} ${v//p/r}  v with the first, with every match of p replaced by r

One pass over the text makes both answers: the expanded text as one word, and the same split into
words, where unquoted blanks separate, also those that come out of a variable.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lamina.dockerfile.patterns import PatternError, replace_matches, trim_prefix, trim_suffix
from lamina.dockerfile.problems import ExpansionError
from lamina.notation.gostrings import is_space, quote

_END = ""  # what `peek` gives behind the last letter
_UNPRINTABLE = "\ufffd"  # how the end of the text is shown in a message
_MAX_DEPTH = 100
_SPECIAL = frozenset("@*#?-$!0")


class Expansion(msgspec.Struct, frozen=True, kw_only=True):
    """The expanded text, the same as words, and the variables it asked for."""

    text: str
    words: tuple[str, ...]
    matched: frozenset[str]
    unmatched: frozenset[str]


class Lexer(msgspec.Struct, frozen=True, kw_only=True):
    """How to expand.

    `escape` is the escape letter of the Dockerfile. `raw_quotes` and `raw_escapes` keep quotes
    and escape letters in the result, though they still do their work; with `skip_quotes` quotes
    are ordinary letters; with `skip_unset` references to unset variables stay as they are.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    skip_quotes: bool = False
    skip_unset: bool = False

    def expand(self, source: str, env: Mapping[str, str]) -> Expansion:
        """Raises ExpansionError."""
        run = _Run(lexer=self, env=env, text=source.removeprefix("\ufeff"))
        run.raw_escapes = self.raw_escapes
        try:
            text, words = run.until(_END, raw_escapes=self.raw_escapes)
        except _Malformed as problem:
            raise ExpansionError(f"failed to process {quote(source)}: {problem}") from None
        return Expansion(
            text=text,
            words=tuple(words),
            matched=frozenset(run.matched),
            unmatched=frozenset(run.unmatched),
        )

    def word(self, source: str, env: Mapping[str, str]) -> str:
        """The expanded text as one word. Raises ExpansionError."""
        return self.expand(source, env).text

    def words(self, source: str, env: Mapping[str, str]) -> tuple[str, ...]:
        """The expanded text, split at unquoted blanks. Raises ExpansionError."""
        return self.expand(source, env).words


class _Malformed(Exception):
    """What is wrong with the text; the caller says with which text."""


class _Words(msgspec.Struct):
    """Collects the letters of words."""

    done: list[str] = msgspec.field(default_factory=list)
    letters: list[str] = msgspec.field(default_factory=list)

    def add(self, text: str) -> None:
        """Text whose blanks separate words."""
        for letter in text:
            if not is_space(letter):
                self.letters.append(letter)
            elif self.letters:
                self.finish()

    def add_raw(self, text: str) -> None:
        """Text whose blanks belong to the word."""
        if text:
            self.letters.append(text)

    def finish(self) -> list[str]:
        if self.letters:
            self.done.append("".join(self.letters))
            self.letters.clear()
        return self.done


class _Run(msgspec.Struct):
    """One walk over one text."""

    lexer: Lexer
    env: Mapping[str, str]
    text: str
    at: int = 0
    depth: int = 0
    raw_escapes: bool = False
    matched: set[str] = msgspec.field(default_factory=set)
    unmatched: set[str] = msgspec.field(default_factory=set)

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        return letter

    @property
    def ended(self) -> bool:
        return self.at >= len(self.text)

    def until(self, stop: str, *, raw_escapes: bool) -> tuple[str, list[str]]:
        """Expand up to the letter `stop` and past it, or up to the end. Raises _Malformed."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _Malformed(f"substitutions are nested more than {_MAX_DEPTH} deep")
        outer, self.raw_escapes = self.raw_escapes, raw_escapes
        try:
            return self._until(stop)
        finally:
            self.raw_escapes = outer
            self.depth -= 1

    def _until(self, stop: str) -> tuple[str, list[str]]:
        result: list[str] = []
        words = _Words()
        while not self.ended:
            letter = self.peek()
            if letter == stop:
                self.at += 1
                return "".join(result), words.finish()
            if letter == "$":
                value = self._dollar()
                words.add(value)
            elif letter == "<":
                value = self._less()
                words.add_raw(value)
            elif letter in "'\"" and not self.lexer.skip_quotes:
                value = self._single_quoted() if letter == "'" else self._double_quoted()
                words.add_raw(value)
            elif letter == self.lexer.escape:
                value = self._escaped()
                words.add_raw(value)
            else:
                value = self.next()
                words.add(value)
            result.append(value)
        if stop != _END:
            raise _Malformed(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result), words.finish()

    def _escaped(self) -> str:
        """The escape letter and what it escapes; nothing is escaped at the end."""
        escape = self.next()
        return (escape if self.raw_escapes else "") + self.next()

    def _less(self) -> str:
        """`<`, or the start of a heredoc with the blanks behind it: they separate no words."""
        start = self.at
        self.at += 1
        if self.peek() == "<":
            self.at += 1
            while self.peek() in ("\t", "\r", " "):
                self.at += 1
        return self.text[start : self.at]

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            self.at = len(self.text)
            raise _Malformed("unexpected end of statement while looking for matching single-quote")
        start, self.at = self.at, end + 1
        return self.text[start : end + 1] if self.lexer.raw_quotes else self.text[start + 1 : end]

    def _double_quoted(self) -> str:
        self.at += 1
        mark = '"' if self.lexer.raw_quotes else ""
        result = [mark]
        while not self.ended:
            letter = self.peek()
            if letter == '"':
                self.at += 1
                return "".join(result) + mark
            if letter == "$":
                result.append(self._dollar())
                continue
            self.at += 1
            if letter == self.lexer.escape:
                if self.raw_escapes:
                    result.append(letter)
                if self.ended:
                    break
                if self.peek() in ('"', "$", self.lexer.escape):
                    letter = self.next()
            result.append(letter)
        raise _Malformed("unexpected end of statement while looking for matching double-quote")

    def _dollar(self) -> str:
        """What a reference stands for. Raises _Malformed."""
        self.at += 1
        if self.peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._get(name)
            if value is None and self.lexer.skip_unset:
                return "$" + name
            return value or ""
        self.at += 1
        if self.ended:
            raise _Malformed("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise _Malformed("syntax error: bad substitution")
        name = self._name()
        operator = self.next()
        match operator:
            case "}":
                value = self._get(name)
                if value is None and self.lexer.skip_unset:
                    return f"${{{name}}}"
                return value or ""
            case ":":
                return self._modified(name, operator + (self.next() or _UNPRINTABLE))
            case "+" | "-" | "?" | "#" | "%":
                return self._modified(name, operator)
            case "/":
                return self._replaced(name)
        raise _unsupported(operator or _UNPRINTABLE)

    def _modified(self, name: str, operator: str) -> str:
        """`${name<operator>word}` from the word on."""
        kind = operator[-1]
        is_pattern = kind in "#%"
        if is_pattern and len(operator) > 1:
            raise _unsupported(operator)
        word = self._operand("}", "'}'", raw_escapes=is_pattern)
        value = self._get(name)
        if value is None and self.lexer.skip_unset:
            return f"${{{name}{operator}{word}}}"
        missing = value is None or (len(operator) > 1 and value == "")
        match kind:
            case "-":
                return word if missing else value or ""
            case "+":
                return "" if missing else word
            case "?" if missing:
                state = "unset" if value is None else "empty"
                raise _Malformed(f"{name}: {word or f'is not allowed to be {state}'}")
            case "?":
                return value or ""
            case "#" | "%":
                longest = word.startswith(kind)
                return _trimmed(kind, word[longest:], value or "", longest=longest)
        raise _unsupported(operator)

    def _replaced(self, name: str) -> str:
        """`${name/pattern/replacement}` from the second slash, or the pattern, on."""
        everywhere = self.peek() == "/"
        self.at += everywhere
        pattern = self._operand("/", "'/' in ${}", raw_escapes=True)
        replacement = self._operand("}", "'}'", raw_escapes=True)
        value = self._get(name)
        if value is None and self.lexer.skip_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        try:
            return replace_matches(pattern, value or "", replacement, everywhere=everywhere)
        except PatternError as error:
            raise _bad_pattern(error) from None

    def _operand(self, stop: str, missing: str, *, raw_escapes: bool) -> str:
        """The expanded word of a modifier, up to `stop`."""
        try:
            return self.until(stop, raw_escapes=raw_escapes)[0]
        except _Malformed:
            if self.ended:
                raise _Malformed(f"syntax error: missing {missing}") from None
            raise

    def _name(self) -> str:
        """A name of letters, digits and `_`, a number, or one letter that the shell reserves."""
        start = self.at
        if self.peek().isdecimal():
            while self.peek().isdecimal():
                self.at += 1
        elif self.peek() in _SPECIAL:
            self.at += 1
        else:
            while (letter := self.peek()).isalpha() or letter.isdecimal() or letter == "_":
                self.at += 1
        return self.text[start : self.at]

    def _get(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value


def _unsupported(operator: str) -> _Malformed:
    return _Malformed(f"unsupported modifier ({operator}) in substitution")


def _trimmed(kind: str, pattern: str, value: str, *, longest: bool) -> str:
    trim = trim_suffix if kind == "%" else trim_prefix
    try:
        return trim(pattern, value, longest=longest)
    except PatternError as error:
        raise _bad_pattern(error) from None


def _bad_pattern(error: PatternError) -> _Malformed:
    return _Malformed(f"invalid pattern ({error.pattern}) in substitution: {error}")
