"""---
name: RedundantTargetPlatform
title: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default
  behavior
impact: LOW
impactDescription: the flag says what is so without it
tags: docker, platforms
url: https://docs.docker.com/go/dockerfile/rule/redundant-target-platform/
---

A base image is taken for the platform that is built for, unless its FROM says something else.

**Incorrect (the default, spelled out):**

```dockerfile
FROM --platform=$TARGETPLATFORM alpine
```

**Correct (left out):**

```dockerfile
FROM alpine
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.editing import flag_spans, remove_flag
from lamina.advisor.finding import Finding, Fix
from lamina.advisor.project import Project

_VARIABLE = "TARGETPLATFORM"


def check(project: Project) -> Iterator[Finding]:
    dockerfile = project.dockerfile
    for line in project.evaluation.froms:
        found = line.platform
        if found is None or found.unmatched or found.matched != {_VARIABLE}:
            continue
        if found.text != line.variables[_VARIABLE]:
            continue
        node = dockerfile.node(line.stage)
        flags = flag_spans(dockerfile, node)
        fix = None
        if len(flags) == 1:
            edit = remove_flag(dockerfile, node, flags[0])
            fix = Fix(title="remove the flag", edits=(edit,))
        yield Finding(
            rule="RedundantTargetPlatform",
            span=line.stage.span,
            message=(
                f"Setting platform to predefined {line.stage.platform} in FROM is redundant as "
                "this is the default behavior"
            ),
            fix=fix,
        )
