"""Compose files: the `build` of services.

Source: the Compose Build Specification.
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.workflows.calls import BuildCall, CacheOption, Kind, dockerfile_paths
from lamina.advisor.workflows.yamltext import Yaml, read_yaml
from lamina.source import SourceFile


def read_compose(source: SourceFile) -> Iterator[BuildCall]:
    """The calls in a compose file."""
    root = source.name.rpartition("/")[0] or "."
    for service in read_yaml(source).get("services").values():
        build = service.get("build")
        if not build:
            continue
        context = build.text or build.get("context").text or "."
        file = build.get("dockerfile").text or "Dockerfile"
        yield BuildCall(
            kind=Kind.COMPOSE,
            span=build.span if build.text else next(build.items())[0].span,
            dockerfiles=()
            if build.get("dockerfile_inline")
            else dockerfile_paths(root, context, file),
            target=build.get("target").text,
            cache_from=_options(build.get("cache_from")),
            cache_to=_options(build.get("cache_to")),
            inline=_inline(build.get("args")),
        )


def _options(value: Yaml) -> tuple[CacheOption, ...]:
    found = (line for each in value.list() for line in each.lines())
    return tuple(CacheOption(text=text, span=span) for text, span in found)


def _inline(arguments: Yaml) -> bool:
    listed = any(each.text == "BUILDKIT_INLINE_CACHE=1" for each in arguments.list())
    return listed or arguments.get("BUILDKIT_INLINE_CACHE").text in ("1", "true")
