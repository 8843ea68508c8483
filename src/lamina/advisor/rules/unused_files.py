"""---
title: Keep Large Files That Nothing Copies Out of the Context
impact: LOW
impactDescription: builders that transfer the context have less to look at
tags: context, dockerignore
---

## Keep Large Files That Nothing Copies Out of the Context

No instruction takes these files. They cost nothing where the context is read in place, as Lamina
does; other tools pack the whole context first, and a later `COPY . .` would take them along.

**Incorrect (a data set beside the source):**

```dockerfile
FROM python:3.12-slim
COPY app /app
```

```files
app/main.py 20
data/train.csv 30000000
```

**Correct (the ignore file names it):**

```dockerfile
FROM python:3.12-slim
COPY app /app
```

```dockerignore
data
```

```files
app/main.py 20
data/train.csv 30000000
```

Reference: [.dockerignore files](https://docs.docker.com/build/concepts/context/#dockerignore-files)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project

RULE = "unused-files"
_LARGE = 25_000_000  # bytes


def check(project: Project) -> Iterator[Finding]:
    """Folders and files at the top of the context that are large and taken by nothing."""
    survey = project.context
    if survey is None or not survey.uses or any(use.missing for use in survey.uses):
        return
    used = {path.partition(b"/")[0] for use in survey.uses for path in use.paths}
    sizes: dict[bytes, int] = {}
    for one in survey.unused():
        top = one.path.partition(b"/")[0]
        if top not in used and not top.startswith(b"."):
            sizes[top] = sizes.get(top, 0) + one.size
    for top, size in sorted(sizes.items()):
        if size >= _LARGE:
            yield Finding(
                rule=RULE,
                span=survey.uses[0].span,
                message=(
                    f"{top.decode('utf-8', 'replace')} ({size // 1_000_000} MB) lies in the build"
                    " context, but no instruction takes it"
                ),
            )
