r"""---
title: Do not empty what a cache mount keeps
impact: HIGH
impactDescription: the mount is emptied or bypassed by the very step that it is for
tags: dep, cache-mount
---

What lies in a cache mount is not in the image, so there is nothing to clean up. Commands that
made a layer smaller before there were mounts now empty the cache for the next build; `rm -rf`
of the mounted folder itself even fails; and `--no-cache-dir` has the tool look away from it.

**Incorrect (the mount is empty at the end of the step):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm \
    npm ci && npm cache clean --force
```

**Correct (it is full for the next build):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm \
    npm ci
```

**Incorrect (pip does not use the mount):**

```dockerfile
FROM python:3.12-slim
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-cache-dir -r requirements.txt && rm -rf /root/.cache/pip /tmp/wheels
```

**Correct (it does):**

```dockerfile
FROM python:3.12-slim
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -r requirements.txt && rm -rf /tmp/wheels
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.cleaning import cleaning, taken_out
from lamina.advisor.finding import Finding, Fix
from lamina.advisor.folders import caches_of
from lamina.advisor.missing_mounts import enabling
from lamina.advisor.mounts import within
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, walk
from lamina.advisor.tools.recognition import uses
from lamina.advisor.tools.tool import Tool


def check(project: Project) -> Iterator[Finding]:
    for place in walk(project):
        mounted: dict[str, tuple[Tool, list[str]]] = {}
        for mount, tool, need in caches_of(project, place):
            # A mount above the folder holds all of it; one below holds a part.
            if mount.target is not None:
                inside = within(need.folder, mount.target)
                folder = need.folder if inside else mount.target
                mounted.setdefault(tool.name, (tool, []))[1].append(folder)
        for tool, folders in mounted.values():
            yield from _found(place, tool, folders)


def _found(place: Place, tool: Tool, folders: list[str]) -> Iterator[Finding]:
    if place.run is None:
        return
    found = cleaning(place.run, place.state, tool, folders)
    own = tuple(uses(place.run, place.state, (tool,)))
    off = [word.raw for use in own if (word := use.call.has(tool.disabling)) is not None]
    if not found and not off:
        return
    taken, enabled = taken_out(place.run, place.state, found), enabling(place, own)
    fix = None
    if taken is not None and enabled is not None:
        title = "leave the cache mount alone"
        fix = Fix(title=title, edits=(*enabled, *taken.edits), safe=taken.safe)
    what = f"{off[0]} bypasses" if off else "this empties"
    yield Finding(
        rule="cache-mount-cleaning",
        span=place.run.node.code,
        message=f"{what} the cache mount at {folders[0]}",
        fix=fix,
    )
