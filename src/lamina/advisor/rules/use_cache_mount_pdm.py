r"""---
title: Use a cache mount for pdm
impact: MEDIUM
impactDescription: packages are downloaded once, not on every change of the lock file
tags: dep, cache-mount, pdm, python
---

pdm keeps wheels and metadata in its cache directory. A cache mount keeps that out of the image
and there for the next build.

**Incorrect (downloads everything again):**

```dockerfile
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml pdm.lock ./
RUN pdm install --check --prod --no-editable
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml pdm.lock ./
RUN --mount=type=cache,target=/root/.cache/pdm \
    pdm install --check --prod --no-editable
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.python import PDM


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, PDM, rule="use-cache-mount-pdm")
