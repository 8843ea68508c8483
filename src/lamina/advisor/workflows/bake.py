"""Bake files: the targets, as far as they are plain values.

Source: the bake file reference of buildx. HCL is read as far as its blocks and attributes go: an
attribute whose value is more than strings is one that is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from lamina.advisor.workflows.calls import BuildCall, CacheOption, Kind, dockerfile_paths
from lamina.advisor.workflows.yamltext import Yaml, read_yaml
from lamina.source import SourceFile, Span

_TOKEN = re.compile(
    r"(?P<blank>\s+|#[^\n]*|//[^\n]*|/\*.*?\*/)"
    r"|<<-?(?P<heredoc>\w+)\n.*?\n\s*(?P=heredoc)\b"
    r'|"(?P<string>(?:[^"\\\n]|\\.)*)"'
    r"|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<mark>.)",
    re.DOTALL,
)


class Token(msgspec.Struct, frozen=True):
    """A word of HCL: of kind `string`, `name`, `mark` or `heredoc`."""

    kind: str
    text: str
    start: int


class Target(msgspec.Struct, kw_only=True):
    """A target: its attributes that are strings or lists of strings, with their places."""

    name: str
    start: int
    attributes: dict[str, list[CacheOption]] = msgspec.field(default_factory=dict)
    unknown: set[str] = msgspec.field(default_factory=set)


def read_bake(source: SourceFile) -> Iterator[BuildCall]:
    """The calls in a bake file. What a target inherits is looked up; what is not known is not."""
    read = _of_json if source.name.endswith(".json") else _of_hcl
    targets = {target.name: target for target in read(source)}
    root = source.name.rpartition("/")[0] or "."
    for target in targets.values():
        if "inherits" not in target.unknown:
            yield _call(source, root, target, targets)


def _call(source: SourceFile, root: str, target: Target, targets: dict[str, Target]) -> BuildCall:
    context, file = (
        _one(target, targets, "context", "."),
        _one(target, targets, "dockerfile", "Dockerfile"),
    )
    unknown = "dockerfile-inline" in target.attributes or context is None or file is None
    return BuildCall(
        kind=Kind.BAKE,
        span=Span(source, target.start, target.start + len(target.name)),
        dockerfiles=() if unknown else dockerfile_paths(root, context or ".", file or ""),
        target=_one(target, targets, "target", "") or "",
        cache_from=tuple(target.attributes.get("cache-from", ())),
        cache_to=tuple(target.attributes.get("cache-to", ())),
    )


def _one(target: Target, targets: dict[str, Target], name: str, default: str) -> str | None:
    """The value of an attribute, its own or inherited; None where it is not known."""
    if name in target.unknown:
        return None
    if name in target.attributes:
        return target.attributes[name][0].text if target.attributes[name] else default
    for parent in reversed(target.attributes.get("inherits", [])):
        known = targets.get(parent.text)
        if known is None or known is target or "inherits" in known.attributes:
            return None
        if name in known.attributes or name in known.unknown:
            return _one(known, {}, name, default)
    return default


def _of_json(source: SourceFile) -> Iterator[Target]:
    for key, value in read_yaml(source).get("target").items():
        target = Target(name=key.text, start=key.span.start + 1)
        for name, each in value.items():
            lines: list[tuple[str, Span]] = [line for one in each.list() for line in one.lines()]
            known = all(isinstance(one, Yaml) and one.text for one in each.list())
            if known and not each.is_mapping:
                options = [CacheOption(text=text, span=span) for text, span in lines]
                target.attributes[name.text] = options
            else:
                target.unknown.add(name.text)
        yield target


def _of_hcl(source: SourceFile) -> Iterator[Target]:
    tokens = [
        Token(match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup or 0))
        for match in _TOKEN.finditer(source.text)
        if match.lastgroup != "blank"
    ]
    depth = 0
    for at, token in enumerate(tokens):
        if depth == 0 and token.text == "target" and token.kind == "name" and at + 2 < len(tokens):
            name, opening = tokens[at + 1], tokens[at + 2]
            if name.kind == "string" and opening.text == "{":
                target = Target(name=name.text, start=name.start)
                _attributes(source, tokens, at + 3, target)
                yield target
        if token.kind == "mark":
            depth += (token.text in "{[(") - (token.text in "}])")


def _attributes(source: SourceFile, tokens: list[Token], at: int, target: Target) -> None:
    """Reads `name = value` up to the end of the block."""
    while at + 1 < len(tokens) and tokens[at].text != "}":
        name, equals = tokens[at], tokens[at + 1]
        if name.kind != "name" or equals.text != "=":
            at = _past(tokens, at)
            continue
        end = _past(tokens, at + 2)
        value = tokens[at + 2 : end]
        plain = [each for each in value if each.kind == "string"]
        simple = all(each.kind == "string" or each.text in "[]," for each in value)
        if simple and not any("${" in each.text or "\\" in each.text for each in plain):
            target.attributes[name.text] = [
                CacheOption(text=one.text, span=Span(source, one.start, one.start + len(one.text)))
                for one in plain
            ]
        else:
            target.unknown.add(name.text)
        at = end


def _past(tokens: list[Token], at: int) -> int:
    """Behind a value: where the next attribute starts, or the block ends."""
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "mark" and token.text in "{[(":
            depth += 1
        elif token.kind == "mark" and token.text in "}])":
            if depth == 0:
                return at
            depth -= 1
        elif depth == 0 and token.kind == "name" and at + 1 < len(tokens):
            following = tokens[at + 1]
            comparing = at + 2 < len(tokens) and tokens[at + 2].text == "="
            if following.text == "=" and not comparing:
                return at
        at += 1
    return at
