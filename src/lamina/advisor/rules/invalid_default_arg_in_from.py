"""---
name: InvalidDefaultArgInFrom
title: Default value for global ARG results in an empty or invalid base image name
impact: MEDIUM
impactDescription: the build fails for whoever does not know the argument
tags: docker, variables
url: https://docs.docker.com/go/dockerfile/rule/invalid-default-arg-in-from/
skip: file
---

A plain `lamina build .` should work. With a default for every argument of a FROM it does.

**Incorrect (no image without --build-arg):**

```dockerfile
ARG TAG
FROM busybox:${TAG}
```

**Correct (a default):**

```dockerfile
ARG TAG=latest
FROM busybox:${TAG}
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.errors import UserError
from lamina.oci.reference import parse_reference


def check(project: Project) -> Iterator[Finding]:
    for line in project.evaluation.froms:
        if line.default is not None and not _is_name(line.default):
            yield Finding(
                rule="InvalidDefaultArgInFrom",
                span=line.stage.span,
                message=(
                    f"Default value for ARG {line.stage.base_name} results in empty or invalid "
                    "base image name"
                ),
            )


def _is_name(text: str) -> bool:
    try:
        parse_reference(text)
    except UserError:
        return False
    return True
