"""---
name: UndefinedArgInFrom
title: FROM command must use declared ARGs
impact: HIGH
impactDescription: the build stands on another image than was meant, or on none
tags: docker, variables
url: https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/
---

A FROM sees the arguments that are declared above the first FROM, and the predefined ones. Any other
name is replaced by nothing.

**Incorrect (a name that nobody declares):**

```dockerfile
ARG ALPINE_VERSION=3.22
FROM alpine:3${APLINE_VERSION}
```

**Correct (the one that was declared):**

```dockerfile
ARG ALPINE_VERSION=3.22
FROM alpine:3${ALPINE_VERSION}
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.wording import renamed_variable
from lamina.notation.suggest import nearest


def check(project: Project) -> Iterator[Finding]:
    for line in project.evaluation.froms:
        for expansion in (line.base, line.platform):
            for name in sorted(expansion.unmatched) if expansion is not None else ():
                if name in line.names:
                    continue
                meant = nearest(name, line.names)
                hint = f" (did you mean {meant}?)" if meant is not None else ""
                node = project.dockerfile.node(line.stage)
                edits = renamed_variable(node, name, meant) if meant is not None else ()
                yield Finding(
                    rule="UndefinedArgInFrom",
                    span=line.stage.span,
                    message=f"FROM argument '{name}' is not declared{hint}",
                    fix=Fix(title=f"write {meant}", edits=edits, safe=False) if edits else None,
                )
