"""The script of a RUN as text for a parser of shell, letter for letter where the file has it.

    RUN --mount=type=cache,target=/c \\        the flags are no script
        apt-get update \\                      a continuation stays one
        # a comment of the Dockerfile          becomes blanks, with its line end
     && apt-get install -y curl

Nothing moves: the letter at `start + n` of the file is the letter at `n` of the script, so what a
parser finds in the script can be underlined and edited in the file.
"""

from __future__ import annotations

import re

import msgspec

from lamina.dockerfile.syntax import Instruction
from lamina.source import Span

_KEYWORD = re.compile(r"\s*\S+")
_FLAG = re.compile(r"(?:\s|\\\n)*--[a-zA-Z][^\s]*")
_BLANKS = re.compile(r"(?:\s|\\\n)*")
_HEREDOC = re.compile(r"<<-?\s*[^\s<>;&|]+\s*(?:(?:ba|da|a|z)?sh)?")  # read by a shell


class ScriptText(msgspec.Struct, frozen=True):
    """What a shell is given, and where in the file its first letter stands."""

    text: str
    start: int


def script_text(node: Instruction, *, escape: str) -> ScriptText | None:
    """The script of a RUN; None where there is none that a shell reads (the exec form).

    Of `RUN <<EOF` it is what stands in the heredoc, if a shell reads that.
    """
    if node.json or not node.args:
        return None
    span = node.code
    head, tail = _split(span, node)
    text = _without_comments(head, escape=escape)
    start = _after_flags(text)
    if node.heredocs:
        return _of_heredoc(text[start:], tail, span, len(head), node)
    return ScriptText(text[start:], span.start + start)


def _split(span: Span, node: Instruction) -> tuple[str, str]:
    """The instruction's own lines, and those of its heredocs."""
    if not node.heredocs:
        return span.text, ""
    length = sum(len(doc.content) for doc in node.heredocs)
    ends = sum(len(line) for line in _closing_lines(span.text, node))
    cut = len(span.text) - length - ends
    return span.text[:cut], span.text[cut:]


def _closing_lines(text: str, node: Instruction) -> list[str]:
    """The lines that end the heredocs: the only ones that are neither head nor content."""
    found = []
    rest = text
    for doc in reversed(node.heredocs):
        cut = rest.rstrip("\n").rfind("\n") + 1
        found.append(rest[cut:])
        rest = rest[: cut - len(doc.content)]
    return found


def _of_heredoc(
    head: str, tail: str, span: Span, offset: int, node: Instruction
) -> ScriptText | None:
    if _HEREDOC.fullmatch(head.strip()) is None:
        if head.startswith("<<"):
            return None  # another program reads it
        # `RUN cat <<EOF > file`: the shell is given the whole, heredocs included.
        start = span.start + offset - len(head)
        return ScriptText(head + tail, start)
    content = node.heredocs[0].content
    if content.startswith("#!") and "sh" not in content.partition("\n")[0]:
        return None  # another language
    return ScriptText(content, span.start + offset)


def _without_comments(text: str, *, escape: str) -> str:
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        body = line.rstrip()
        if index and (not body or body.lstrip().startswith("#")):
            lines[index] = " " * len(line)
        elif body.endswith(escape) and line.endswith("\n"):
            # Blanks may follow the escape letter here, which a shell would not understand.
            lines[index] = body[:-1] + " " * (len(line) - len(body) - 1) + "\\\n"
    return "".join(lines)


def _after_flags(text: str) -> int:
    keyword = _KEYWORD.match(text)
    at = keyword.end() if keyword else 0
    while (flag := _FLAG.match(text, at)) is not None:
        at = flag.end()
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at
