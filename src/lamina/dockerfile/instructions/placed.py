"""What every typed instruction takes over from its syntax node."""

from __future__ import annotations

from typing import TypedDict

from lamina.dockerfile.syntax import Instruction
from lamina.notation.gostrings import SPACES
from lamina.source import Span


class Common(TypedDict):
    """The fields that every typed instruction has."""

    span: Span
    original: str
    keyword: str
    comments: tuple[str, ...]


def common(node: Instruction) -> Common:
    """The fields of `commands.Placed`."""
    return Common(
        span=node.code,
        original=node.original.strip(SPACES),
        keyword=node.keyword,
        comments=node.comments,
    )
