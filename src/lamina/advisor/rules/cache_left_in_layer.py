r"""---
title: Remove a cache in the step that filled it
impact: MEDIUM
impactDescription: the image keeps what a later step seems to remove
tags: dep, layer, image-size
---

A step adds its files to the image as a layer, and no later step takes them out again: it can
only hide them. A cache that is emptied by an instruction of its own is still downloaded with
the image. Keep it out of the layer by a cache mount, or empty it in the same step.

**Incorrect (the lists stay in the second layer):**

```dockerfile
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y gcc
RUN rm -rf /var/lib/apt/lists/*
```

**Correct (they are in no layer):**

```dockerfile
FROM debian:bookworm-slim
# Images of Debian and Ubuntu delete every package once it is installed:
# without this, the cache mounts below would stay empty.
RUN rm -f /etc/apt/apt.conf.d/docker-clean; \
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache

RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && apt-get install -y gcc
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.cleaning import cleaning
from lamina.advisor.finding import Finding
from lamina.advisor.mounts import covered, mounts_of
from lamina.advisor.needs import needed
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, lineage, walk
from lamina.advisor.tools.recognition import uses
from lamina.advisor.tools.table import TOOLS
from lamina.advisor.tools.tool import Tool


def check(project: Project) -> Iterator[Finding]:
    left: dict[str, tuple[Tool, Place, tuple[str, ...]]] = {}
    for place in walk(project):
        if place.run is None:
            continue
        for name, (tool, filled, folders) in tuple(left.items()):
            same = filled.number in lineage(project, place.number)
            if same and cleaning(place.run, place.state, tool, folders):
                del left[name]
                if not any(uses(place.run, place.state, (tool,))):
                    yield _finding(place, filled, folders)
        left |= {each[0].name: each for each in _left(project, place)}


def _left(project: Project, place: Place) -> Iterator[tuple[Tool, Place, tuple[str, ...]]]:
    """The tools whose caches a RUN leaves in its layer, and where."""
    assert place.run is not None
    mounts = mounts_of(project.dockerfile, place)
    found = tuple(uses(place.run, place.state, TOOLS))
    for tool in {use.tool.name: use.tool for use in found}.values():
        own = tuple(use for use in found if use.tool is tool)
        needs = [need for need in needed(place, own) if not covered(need, mounts)]
        folders = tuple(need.folder for need in needs)
        off = any(use.call.has(tool.disabling) for use in own)
        if folders and not off and not cleaning(place.run, place.state, tool, folders):
            yield tool, place, folders


def _finding(place: Place, filled: Place, folders: tuple[str, ...]) -> Finding:
    assert place.run is not None
    line = filled.command.span.line
    where = " and ".join(folders)
    return Finding(
        rule="cache-left-in-layer",
        span=place.run.node.code,
        message=f"this only hides what line {line} left in its layer at {where}",
    )
