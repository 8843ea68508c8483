"""---
title: Keep the Cache of All Stages
impact: MEDIUM-HIGH
impactDescription: stages that compile are found in the cache, and not only those of the image
tags: external-cache, multi-stage
---

## Keep the Cache of All Stages

An inline cache is a note inside the image, and so it knows the layers of the image only. The stages
that files are copied from, where the work is usually done, are built again on every new machine. A
cache of its own (`type=registry`, `type=gha` …) with `mode=max` holds them, too.

**Incorrect (the stage that compiles is never found):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
RUN --mount=type=bind,target=. go build -o /out/app .

FROM scratch
COPY --from=build /out/app /app
```

```yaml compose.yaml
services:
  app:
    image: registry.example.com/app
    build:
      context: .
      cache_from:
        - registry.example.com/app
      cache_to:
        - type=inline
```

**Correct (a cache of its own):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
RUN --mount=type=bind,target=. go build -o /out/app .

FROM scratch
COPY --from=build /out/app /app
```

```yaml compose.yaml
services:
  app:
    image: registry.example.com/app
    build:
      context: .
      cache_from:
        - type=registry,ref=registry.example.com/app:buildcache
      cache_to:
        - type=registry,ref=registry.example.com/app:buildcache,mode=max
```

Reference: [Inline cache](https://docs.docker.com/build/cache/backends/inline/)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.advisor.workflows.reading import calls_of
from lamina.advisor.workflows.stages import stages_beside

RULE = "inline-cache-with-stages"


def check(project: Project) -> Iterator[Finding]:
    """Inline caches of builds whose work is done in stages beside the image."""
    for call in calls_of(project):
        inline = [option for option in call.cache_to if option.type == "inline"]
        others = [option for option in call.cache_to if option.type != "inline"]
        if others or not (inline or call.inline):
            continue
        beside = stages_beside(project, call.target)
        if beside:
            yield Finding(
                rule=RULE,
                span=inline[0].span if inline else call.span,
                message=(
                    f"an inline cache knows nothing of {_named(beside)}, which files are copied"
                    " from: use one of its own, with mode=max"
                ),
            )


def _named(stages: tuple[str, ...]) -> str:
    names = ", ".join(stages[:3])
    return f"the stage {names}" if len(stages) == 1 else f"the stages {names}"
