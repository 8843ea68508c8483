"""Where the words of an instruction stand, for fixes that change one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Edit
from lamina.advisor.project import Dockerfile
from lamina.dockerfile.syntax import Instruction
from lamina.source import Span

_WORD = re.compile(r"[^ \t\v\f\r\n]+")
_COMMENT = re.compile(r"[ \t]*#")


def words(dockerfile: Dockerfile, node: Instruction) -> tuple[Span, ...]:
    """The words between blanks, keyword and flags included, heredocs not.

    None at all where a word goes on in the next line: then it stands nowhere as a whole.
    """
    escape = dockerfile.syntax.escape
    file, start = node.code.file, node.code.start
    found: list[Span] = []
    glued = False
    for line in node.code.text.splitlines(keepends=True):
        if found and (_COMMENT.match(line) or not line.strip()):
            start += len(line)
            continue
        body = line.rstrip()
        goes_on = body.endswith(escape) and not body.endswith(escape * 2)
        body = body.removesuffix(escape) if goes_on else body
        if glued and body[:1].strip():
            return ()
        found += (Span(file, start + m.start(), start + m.end()) for m in _WORD.finditer(body))
        glued = goes_on and bool(body[-1:].strip())
        start += len(line)
        if not goes_on:
            break
    return tuple(found)


def renamed_variable(node: Instruction, name: str, new: str) -> tuple[Edit, ...]:
    """Another variable wherever an instruction says `$name` or `${name…}`."""
    reference = re.compile(rf"\$\{{?(?P<name>{re.escape(name)})(?![A-Za-z0-9_])")
    start = node.code.start
    return tuple(
        Edit(Span(node.code.file, start + match.start("name"), start + match.end("name")), new)
        for match in reference.finditer(node.code.text)
    )


def nodes_read(dockerfile: Dockerfile) -> Iterator[Instruction]:
    """The instructions that were looked at one by one: to the first that is wrong, with that."""
    error = dockerfile.error
    end = len(dockerfile.source.text)
    if error is not None and error.span is not None:
        end = max(error.span.end, error.span.start + 1)
    return (node for node in dockerfile.syntax.instructions if node.span.start < end)
