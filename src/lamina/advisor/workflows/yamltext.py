"""YAML with the place of everything in the text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from lamina.source import SourceFile, Span

if TYPE_CHECKING:
    from yaml import Node

_REMEMBERED = 64


class Yaml:
    """A node with what is asked of it; what is not there, or of another kind, is empty."""

    __slots__ = ("_node", "source")

    def __init__(self, source: SourceFile, node: Node | None) -> None:
        self.source = source
        self._node = node

    @property
    def _kind(self) -> str:
        return getattr(self._node, "id", "")

    @property
    def _style(self) -> str:
        return getattr(self._node, "style", None) or ""

    def __bool__(self) -> bool:
        return self._node is not None

    @property
    def text(self) -> str:
        """A scalar's value; "" for anything else."""
        value = self._node.value if self._node is not None else ""
        return value if isinstance(value, str) else ""

    @property
    def is_mapping(self) -> bool:
        return self._kind == "mapping"

    @property
    def is_flow(self) -> bool:
        return bool(getattr(self._node, "flow_style", False))

    @property
    def span(self) -> Span:
        """Where it stands, quotes and all, without the blanks behind it."""
        if self._node is None:
            return Span(self.source, 0, 0)
        start, end = self._node.start_mark.index, self._node.end_mark.index
        return Span(self.source, start, start + len(self.source.text[start:end].rstrip()))

    def get(self, *names: str) -> Yaml:
        """The value behind keys, one in the other."""
        found = self
        for name in names:
            found = next((value for key, value in found.items() if key.text == name), _none(self))
        return found

    def items(self) -> Iterator[tuple[Yaml, Yaml]]:
        """The pairs of a mapping."""
        if self._node is not None and self._kind == "mapping":
            for key, value in self._node.value:
                yield Yaml(self.source, key), Yaml(self.source, value)

    def values(self) -> Iterator[Yaml]:
        """The values of a mapping."""
        return (value for _, value in self.items())

    def list(self) -> Iterator[Yaml]:
        """The members of a sequence; a scalar alone is one."""
        if self._node is None:
            return
        if self._kind == "sequence":
            for value in self._node.value:
                yield Yaml(self.source, value)
        elif self._kind == "scalar":
            yield self

    def lines(self) -> Iterator[tuple[str, Span]]:
        """The lines of a scalar that are not empty, and where each stands, without quotes."""
        if self._node is None or not self.text:
            return
        span = self.span
        style = self._style
        if style not in ("|", ">"):
            quote = 1 if style in ("'", '"') else 0
            yield self.text, Span(self.source, span.start + quote, span.end - quote)
            return
        at = self.source.text.find("\n", span.start) + 1
        for line in self.source.text[at : span.end].splitlines(keepends=True):
            body = line.strip()
            if body:
                start = at + line.index(body)
                yield body, Span(self.source, start, start + len(body))
            at += len(line)

    def block(self) -> Span:
        """The text of a scalar as it is written: of a block its lines with their indents."""
        span = self.span
        style = self._style
        if style in ("|", ">"):
            return Span(self.source, self.source.text.find("\n", span.start) + 1, span.end)
        quote = 1 if style in ("'", '"') else 0
        return Span(self.source, span.start + quote, span.end - quote)


def _none(near: Yaml) -> Yaml:
    return Yaml(near.source, None)


@lru_cache(_REMEMBERED)
def read_yaml(source: SourceFile) -> Yaml:
    """The document; empty for what is no YAML, or has several."""
    import yaml

    try:
        return Yaml(source, yaml.compose(source.text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError):
        return Yaml(source, None)
