"""---
title: Remove Arguments That Nothing Uses
impact: LOW-MEDIUM
impactDescription: another value no longer makes every step run again
tags: layer-order, arg
---

## Remove Arguments That Nothing Uses

The value of an `ARG` belongs to the key of every `RUN` below it. One that no instruction and no
command below asks for does nothing but make them run again when its value changes.

Arguments that tools read by themselves (`DEBIAN_FRONTEND`, `PIP_INDEX_URL`, `HTTP_PROXY` …) and
those whose very purpose is to spoil the cache (`CACHEBUST`) are left alone, and so is everything
above a command that may read its environment.

**Incorrect (nothing uses the argument):**

```dockerfile
FROM debian:bookworm-slim
ARG RELEASE_CHANNEL=stable
RUN apt-get update && apt-get install -y --no-install-recommends curl
CMD ["curl", "--version"]
```

**Correct (it is gone):**

```dockerfile
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends curl
CMD ["curl", "--version"]
```

Reference: [Dockerfile reference: impact of ARG on build caching](https://docs.docker.com/reference/dockerfile/#impact-on-build-caching)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.editing import remove_instruction
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, lineage, walk
from lamina.advisor.volatile import asks_for_nothing, mentions
from lamina.dockerfile.instructions.commands import ArgCommand, OnbuildCommand
from lamina.source import Span

RULE = "unused-argument"
_READ_BY_TOOLS = re.compile(
    r"(?:DEBIAN|DEBCONF|APT|PIP|UV|POETRY|PDM|NPM|YARN|PNPM|NODE|BUN|CARGO|RUST|GO|CGO|MAVEN|MVN"
    r"|GRADLE|JAVA|NUGET|DOTNET|MIX|HEX|CONDA|MAMBA|BUNDLE|GEM|RUBY|COMPOSER|PHP|PYTHON|GIT|LC|XDG"
    r"|CURL|SSL|BUILDKIT|TARGET|BUILD|DOCKER|LD|OPENSSL)(?:_.*|[A-Z]*FLAGS)?"
    r"|.*(?:PROXY|PATH|FLAGS|CACHE_?BUST.*|BUST_?CACHE|REFRESH.*|INVALIDATE.*|FORCE_.*|CA_BUNDLE|CERTS?)"
    r"|TARGET.*|BUILD.*|LANG|LANGUAGE|TZ|HOME|USER|SHELL|TERM|CC|CXX|MAKE.*|SOURCE_DATE_EPOCH"
    r"|CACHE.*|UID|GID|USERNAME",
    re.IGNORECASE,
)


def check(project: Project) -> Iterator[Finding]:
    """Arguments of stages that nothing below wants."""
    places = walk(project)
    for number, place in enumerate(places):
        command = place.command
        if not isinstance(command, ArgCommand) or len(command.args) != 1:
            continue
        name = command.args[0].key
        if _READ_BY_TOOLS.fullmatch(name) is None and _unused(project, name, number, places):
            yield Finding(
                rule=RULE,
                span=command.span,
                message=f"nothing uses {name}, but another value makes every RUN below run again",
                fix=Fix(title=f"remove ARG {name}", edits=(_removed(project, place),)),
            )


def _unused(project: Project, name: str, number: int, places: tuple[Place, ...]) -> bool:
    own = places[number].number
    below = [
        other
        for other in places[number + 1 :]
        if other.number == own or own in lineage(project, other.number)
    ]
    runs = [other for other in below if other.run is not None]
    return (
        bool(runs)
        and all(asks_for_nothing(other, installs=False) for other in runs)
        and not any(mentions(other.command.span.text, (name,)) for other in below)
        and not any(isinstance(other.command, OnbuildCommand) for other in below)
        and project.dockerfile.error is None
    )


def _removed(project: Project, place: Place) -> Edit:
    """Cuts the instruction out; comments that stand on it may be about more."""
    node = project.dockerfile.node(place.command)
    if place.command.comments:
        return Edit(Span(node.span.file, node.span.start, node.span.end), "")
    return remove_instruction(project.dockerfile, node)
