"""Command lines that build: `docker buildx build`, `docker build`, `lamina build`.

Expressions of the file around them (`${{ … }}`) stay as they are, letter for letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from lamina.advisor.shell.script import Invocation, parse_script
from lamina.advisor.workflows.calls import CacheOption
from lamina.source import Span

_EXPRESSION = re.compile(r"\$\{\{.*?\}\}")
_PROGRAMS = (
    ("docker", "buildx", "build"),
    ("docker", "buildx", "b"),
    ("docker", "image", "build"),
    ("docker", "build"),
    ("lamina", "build"),
)
_SWITCHES = frozenset(
    (
        *("--load", "--push", "--no-cache", "--pull", "-q", "--quiet", "--check", "-D", "--debug"),
        *("--rm", "--force-rm", "--squash", "--compress", "--help"),
    )
)
_MOVES = frozenset(("cd", "pushd"))


class BuildCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command line. `program` are its first words; `options` are long names and values, None
    for what is not known before it runs. `moved`: another directory may be the working one.
    """

    program: tuple[str, ...]
    span: Span
    context: str
    options: tuple[tuple[str, CacheOption], ...]
    moved: bool

    def values(self, *names: str) -> tuple[CacheOption, ...]:
        return tuple(value for name, value in self.options if name in names)

    def value(self, *names: str) -> str:
        found = self.values(*names)
        return found[-1].text if found else ""


def build_commands(place: Span) -> Iterator[BuildCommand]:
    """Those of the script that stands at a place of a file."""
    hidden = _EXPRESSION.sub(lambda match: "$" + "_" * (len(match[0]) - 1), place.text)
    if "build" not in hidden:
        return
    moved = False
    for invocation in parse_script(hidden).invocations():
        moved = moved or invocation.name in _MOVES
        words = [_text(place, word.start, word.end) for word in invocation.words]
        program = next((each for each in _PROGRAMS if tuple(words[: len(each)]) == each), None)
        if program is not None:
            yield _command(place, invocation, program, moved=moved)


def _command(
    place: Span, invocation: Invocation, program: tuple[str, ...], *, moved: bool
) -> BuildCommand:
    words = [
        CacheOption(
            text=_text(place, word.start, word.end),
            span=Span(place.file, place.start + word.start, place.start + word.end),
        )
        for word in invocation.words[len(program) :]
    ]
    options, contexts = _options(words)
    return BuildCommand(
        program=program,
        span=Span(place.file, place.start + invocation.start, place.start + invocation.end),
        context=contexts[-1] if contexts else ".",
        options=tuple(options),
        moved=moved,
    )


def _options(
    words: Sequence[CacheOption],
) -> tuple[list[tuple[str, CacheOption]], list[str]]:
    options: list[tuple[str, CacheOption]] = []
    contexts: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, _ = word.text.partition("=")
        if not word.text.startswith("-") or word.text == "-":
            contexts.append(word.text)
        elif equals and name.startswith("--"):
            start = word.span.start + len(name) + 1
            value = word.text[len(name) + 1 :]
            options.append((name, CacheOption(text=value, span=_tail(word.span, start))))
        elif name in _SWITCHES:
            options.append((name, word))
        else:
            options.append((name, next(rest, word)))
    return options, contexts


def _tail(span: Span, start: int) -> Span:
    return Span(span.file, start, span.end)


def _text(place: Span, start: int, end: int) -> str:
    """A word without the quotes around it."""
    raw = place.text[start:end]
    if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "'\"":
        return raw[1:-1]
    return raw
