"""A shell script as the commands that it runs, each with its place.

Parsed by tree-sitter's grammar of bash, which reads POSIX sh as well and goes on behind what it
does not understand. What is not known before the script runs (a variable, a command substitution)
is None here; no rule guesses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A word of a command, at `start` to `end` of the script. `value` is what the command gets,
    None where that is not known; `raw` is the word as it is written.
    """

    raw: str
    value: str | None
    start: int
    end: int


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """A simple command: its name and arguments.

    `variables` are set for it alone (`X=1 make`), or for all that follows where there is no name.
    `inside` are the constructs around it, from outside in (`if_statement`, `subshell`,
    `pipeline` …).
    """

    words: tuple[Word, ...]
    variables: tuple[tuple[str, str | None], ...] = ()
    redirects: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    start: int
    end: int

    @property
    def name(self) -> str:
        """The name without its folder; "" where it is not known."""
        value = self.words[0].value if self.words else None
        return (value or "").rpartition("/")[2]

    @property
    def arguments(self) -> tuple[Word, ...]:
        return self.words[1:]

    def values(self) -> tuple[str, ...]:
        """The arguments that are known."""
        return tuple(word.value for word in self.arguments if word.value is not None)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the script's outermost sequence (`a && b; c` has three).

    `operator` is what stands before it: `&&`, `||`, `;`, a line end, "" for the first.
    """

    operator: str
    invocations: tuple[Invocation, ...]
    start: int
    end: int


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A script. `whole` is false where a part of it was not understood."""

    text: str
    steps: tuple[Step, ...]
    whole: bool

    def invocations(self) -> Iterator[Invocation]:
        """Every simple command, in order."""
        for step in self.steps:
            yield from step.invocations

    def without(self, step: Step) -> tuple[int, int] | None:
        """What to cut out so that the step is gone and the rest does the same, from and to.

        None where that cannot be done: it is the only one, or `||` hangs on it.
        """
        index = self.steps.index(step)
        before = self.steps[index - 1] if index else None
        after = self.steps[index + 1] if index + 1 < len(self.steps) else None
        if step.operator == "||" or (after is not None and after.operator == "||"):
            return None
        if after is not None and step.operator != "&&":
            return step.start, after.start
        return (before.end, step.end) if before is not None else None


def parse_script(text: str) -> Script:
    """The script, as far as it is understood."""
    data = text.encode("utf-8", "surrogatepass")
    tree = _parser().parse(data)
    reading = _Reading(text, data)
    steps = tuple(reading.steps(tree.root_node))
    return Script(text=text, steps=steps, whole=not tree.root_node.has_error)


@cache
def _parser() -> Parser:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


_SEQUENCES = ("program", "list")
_BETWEEN = ("&&", "||", ";", "&", "\n")
_HEREDOC = ("heredoc_start", "heredoc_body", "heredoc_end", "file_redirect")


class _Reading:
    """Reads nodes of one script. Offsets of nodes are in bytes, ours in letters."""

    def __init__(self, text: str, data: bytes) -> None:
        self._text = text
        self._data = data
        self._ascii = len(text) == len(data)

    def _at(self, offset: int) -> int:
        if self._ascii:
            return offset
        return len(self._data[:offset].decode("utf-8", "surrogatepass"))

    def steps(self, node: Node) -> Iterator[Step]:
        operator = ""
        for part, between in self._sequence(node):
            yield Step(
                operator=between or ("\n" if operator else ""),
                invocations=tuple(self._invocations(part, ())),
                start=self._at(part.start_byte),
                end=self._at(part.end_byte),
            )
            operator = "\n"

    def _sequence(self, node: Node) -> Iterator[tuple[Node, str]]:
        """The parts of a sequence with the operator before each; lists are nested to the left."""
        operator = ""
        for child in node.children:
            if child.type in _BETWEEN:
                operator = child.type
            elif child.type in _SEQUENCES:
                parts = self._sequence(child)
                first, _ = next(parts)
                yield first, operator
                yield from parts
                operator = ""
            elif child.is_named and child.type != "comment":
                yield child, operator
                operator = ""

    def _invocations(self, node: Node, inside: tuple[str, ...]) -> Iterator[Invocation]:
        match node.type:
            case "command" | "declaration_command" | "variable_assignment" | "unset_command":
                yield self._invocation(node, inside, ())
            case "redirected_statement":
                yield from self._redirected(node, inside)
            case "heredoc_body" | "comment":
                pass
            case kind:
                around = inside if kind in _SEQUENCES else (*inside, kind)
                for child in node.children:
                    if child.is_named:
                        yield from self._invocations(child, around)

    def _redirected(self, node: Node, inside: tuple[str, ...]) -> Iterator[Invocation]:
        body, *rest = node.children
        redirects = tuple(self._raw(child).partition("\n")[0] for child in rest if child.is_named)
        if body.type == "command":
            yield self._invocation(body, inside, redirects)
        else:
            yield from self._invocations(body, inside)
        for child in rest:
            # What follows a heredoc's name on its line is a part of the heredoc in this grammar.
            if child.type == "heredoc_redirect":
                for part in child.children:
                    if part.type not in _HEREDOC and part.is_named:
                        yield from self._invocations(part, inside)

    def _invocation(
        self, node: Node, inside: tuple[str, ...], redirects: tuple[str, ...]
    ) -> Invocation:
        words: list[Word] = []
        variables: list[tuple[str, str | None]] = []
        children = [node] if node.type == "variable_assignment" else node.children
        for child in children:
            match child.type:
                case "variable_assignment":
                    name, _, value = self._raw(child).partition("=")
                    last = child.children[-1]
                    known = self._value(last) if len(child.children) > 2 else value or ""
                    variables.append((name, known))
                case "command_name":
                    words.append(self._word(child.children[0]))
                case "file_redirect" | "heredoc_redirect" | "herestring_redirect":
                    redirects = (*redirects, self._raw(child))
                case _:
                    words.append(self._word(child))
        return Invocation(
            words=tuple(words),
            variables=tuple(variables),
            redirects=redirects,
            inside=inside,
            start=self._at(node.start_byte),
            end=self._at(node.end_byte),
        )

    def _word(self, node: Node) -> Word:
        return Word(
            raw=self._raw(node),
            value=self._value(node),
            start=self._at(node.start_byte),
            end=self._at(node.end_byte),
        )

    def _value(self, node: Node) -> str | None:
        raw = self._raw(node)
        match node.type:
            case "word" | "number" | "extglob_pattern" | "regex" | "variable_name":
                return _unescaped(raw)
            case "raw_string":
                return raw[1:-1]
            case "string":
                inner = [child for child in node.children if child.type != '"']
                if any(child.type != "string_content" for child in inner):
                    return None
                return _unescaped(raw[1:-1], only='"\\$`\n')
            case "concatenation":
                parts = [self._value(child) for child in node.children]
                known = [part for part in parts if part is not None]
                return "".join(known) if len(known) == len(parts) else None
        return raw if not node.is_named else None

    def _raw(self, node: Node) -> str:
        return self._text[self._at(node.start_byte) : self._at(node.end_byte)]


def _unescaped(raw: str, *, only: str = "") -> str:
    """Without the backslashes that quote the letter behind them; a continuation is nothing."""
    if "\\" not in raw:
        return raw
    letters: list[str] = []
    rest = iter(raw)
    for letter in rest:
        if letter != "\\":
            letters.append(letter)
            continue
        quoted = next(rest, "")
        if quoted == "\n":
            continue
        letters.append(letter + quoted if only and quoted not in only else quoted)
    return "".join(letters)
