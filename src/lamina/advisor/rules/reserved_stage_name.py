"""---
name: ReservedStageName
title: Reserved words should not be used as stage names
impact: MEDIUM
impactDescription: the stage cannot be told from what the word means elsewhere
tags: docker, stages
url: https://docs.docker.com/go/dockerfile/rule/reserved-stage-name/
skip: file
---

`scratch` is the empty image, and `context` is what builders call the build context. A stage of such
a name hides it, or is hidden by it.

**Incorrect (a stage that is called like the empty image):**

```dockerfile
FROM alpine AS scratch
```

**Correct (a name of its own):**

```dockerfile
FROM alpine AS minimal
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.notation.gostrings import quote

_RESERVED = ("context", "scratch")


def check(project: Project) -> Iterator[Finding]:
    if project.dockerfile.error is not None:
        return
    for stage in project.dockerfile.stages:
        if stage.name in _RESERVED:
            yield Finding(
                rule="ReservedStageName",
                span=stage.span,
                message=(
                    f"Stage name should not use the same name as reserved stage {quote(stage.name)}"
                ),
            )
