"""---
name: ConsistentInstructionCasing
title: All commands within the Dockerfile should use the same casing (either upper or lower)
impact: LOW
impactDescription: a file in two styles is harder to read
tags: docker, style
url: https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/
skip: file
---

Instructions may be written in any case; a file that sticks to one can be skimmed. The style that
most of its instructions have is that of the file.

**Incorrect (three styles in one file):**

```dockerfile
From alpine
RUN apk add --no-cache make
run make
COPY src /src
```

**Correct (one style):**

```dockerfile
FROM alpine
RUN apk add --no-cache make
RUN make
COPY src /src
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.dockerfile.instructions.commands import Command, Stage
from lamina.source import Span


def check(project: Project) -> Iterator[Finding]:
    dockerfile = project.dockerfile
    if dockerfile.error is not None:
        return
    written = [one for stage in dockerfile.stages for one in (stage, *stage.commands)]
    lower = _is_lower(written)
    for one in written:
        keyword = one.keyword
        wanted = keyword.lower() if lower else keyword.upper()
        if keyword == wanted:
            continue
        casing = "lowercase" if lower else "uppercase"
        place = Span(one.span.file, one.span.start, one.span.start + len(keyword))
        yield Finding(
            rule="ConsistentInstructionCasing",
            span=one.span,
            message=f"Command '{keyword}' should match the case of the command majority ({casing})",
            fix=Fix(title=f"write {wanted}", edits=(Edit(place, wanted),)),
        )


def _is_lower(written: list[Stage | Command]) -> bool:
    """Whether most instructions are in lower case; those that mix cases have no vote."""
    lower = sum(one.keyword == one.keyword.lower() for one in written)
    upper = sum(one.keyword == one.keyword.upper() for one in written)
    return lower > upper
