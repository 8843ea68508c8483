"""---
name: DuplicateStageName
title: Stage names should be unique
impact: MEDIUM
impactDescription: what is copied or built from is another stage than it seems
tags: docker, stages
url: https://docs.docker.com/go/dockerfile/rule/duplicate-stage-name/
skip: file
---

Where two stages have one name, an instruction means the one that stands last above it, and
`--target` the last one of all. Which stage is meant then changes when stages are moved.

**Incorrect (one name, two stages):**

```dockerfile
FROM golang AS build
RUN go install example.com/tool@v1

FROM node AS build
RUN npm run build
```

**Correct (each has its own):**

```dockerfile
FROM golang AS tool
RUN go install example.com/tool@v1

FROM node AS build
RUN npm run build
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.notation.gostrings import quote


def check(project: Project) -> Iterator[Finding]:
    if project.dockerfile.error is not None:
        return
    seen: set[str] = set()
    for stage in project.dockerfile.stages:
        if stage.name and stage.name in seen:
            yield Finding(
                rule="DuplicateStageName",
                span=stage.span,
                message=(f"Duplicate stage name {quote(stage.name)}, stage names should be unique"),
            )
        seen.add(stage.name)
