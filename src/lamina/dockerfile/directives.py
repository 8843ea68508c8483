"""Parser directives: `# syntax=…`, `# escape=…`, `# check=…` in the first lines of a file.

Each may be given once, before any instruction, empty line or other comment. `# syntax` is also
found behind `//`, or in a JSON document, so that other languages can name their frontend.
Source: the Dockerfile reference, "Parser directives".
"""

from __future__ import annotations

import json
import re

import msgspec

from lamina.dockerfile.problems import DockerfileSyntaxError
from lamina.notation.gostrings import SPACES

BYTE_ORDER_MARK = "\ufeff"
KNOWN = frozenset(("syntax", "escape", "check"))

_FORM = re.compile(
    r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*([^\n]+?)[\t\n\f\r ]*", re.ASCII
)


class Directive(msgspec.Struct, frozen=True, kw_only=True):
    """`# name = value` on a line of the file; the name is in lower case."""

    name: str
    value: str
    line: int


class DirectiveReader(msgspec.Struct):
    """Takes the lines of a file from the first on, and tells which are directives."""

    comment: str = "#"
    line: int = 0
    done: bool = False
    seen: set[str] = msgspec.field(default_factory=set)

    def read(self, line: str) -> Directive | None:
        """The directive that the line is. Raises DockerfileSyntaxError if there was one before."""
        self.line += 1
        if self.done:
            return None
        match = None
        if line.startswith(self.comment):
            match = _FORM.fullmatch(line.removeprefix(self.comment).lstrip(SPACES))
        if match is None or match[1].lower() not in KNOWN:
            self.done = True
            return None
        name = match[1].lower()
        if name in self.seen:
            raise DockerfileSyntaxError(f"only one {name} parser directive can be used")
        self.seen.add(name)
        return Directive(name=name, value=match[2], line=self.line)


def find_directive(name: str, text: str) -> Directive | None:
    """The first directive of that name in the text of a file; a `#!` line may stand above it."""
    return _find(name, *_below_shebang(text), comment="#")


def find_syntax(text: str) -> Directive | None:
    """The frontend that a file asks for, in any of the three forms."""
    text, line = _below_shebang(text)
    found = _find("syntax", text, line, comment="#") or _find("syntax", text, line, comment="//")
    if found is not None:
        return found
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    value = document.get("syntax") if isinstance(document, dict) else None
    return Directive(name="syntax", value=value, line=line) if isinstance(value, str) else None


def first_word(value: str) -> str:
    """The value of a directive up to its first blank, without the options behind it."""
    return value.partition(" ")[0]


def _below_shebang(text: str) -> tuple[str, int]:
    """The text without a byte order mark and a `#!` line, and how many lines were taken."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    return (text.partition("\n")[2], 1) if text.startswith("#!") else (text, 0)


def _find(name: str, text: str, line: int, *, comment: str) -> Directive | None:
    reader = DirectiveReader(comment=comment, line=line)
    for part in text.split("\n"):
        try:
            directive = reader.read(part.removesuffix("\r"))
        except DockerfileSyntaxError:
            return None
        if directive is not None and directive.name == name:
            return directive
        if reader.done:
            return None
    return None
