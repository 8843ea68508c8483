r"""---
title: Use a cache mount for poetry
impact: MEDIUM-HIGH
impactDescription: packages are downloaded once, not on every change of the lock file
tags: dep, cache-mount, poetry, python
---

poetry keeps downloads in two folders below its cache directory, `cache` and `artifacts`.
Virtual environments lie in the same directory by default, so a mount of the whole of it would
take the installed packages out of the image: mount the two.

**Incorrect (removed again at once, or left in the image):**

```dockerfile
FROM python:3.12-slim
ENV POETRY_VIRTUALENVS_CREATE=false POETRY_CACHE_DIR=/tmp/poetry
WORKDIR /app
COPY pyproject.toml poetry.lock ./
RUN poetry install --only main --no-root && rm -rf $POETRY_CACHE_DIR
```

**Correct (kept for the next build, and out of the image):**

```dockerfile
FROM python:3.12-slim
ENV POETRY_VIRTUALENVS_CREATE=false POETRY_CACHE_DIR=/tmp/poetry
WORKDIR /app
COPY pyproject.toml poetry.lock ./
RUN --mount=type=cache,target=/tmp/poetry/cache \
    --mount=type=cache,target=/tmp/poetry/artifacts \
    poetry install --only main --no-root
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.python import POETRY


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, POETRY, rule="use-cache-mount-poetry")
