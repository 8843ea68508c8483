r"""---
title: Use a cache mount for uv
impact: MEDIUM-HIGH
impactDescription: wheels are downloaded and built once, not on every change of the lock file
tags: dep, cache-mount, uv, python
---

uv keeps wheels, and what it built of source packages, in a cache of its own: not in that of
pip. Without a mount the cache is either turned off or becomes a part of the image, where it is
often larger than what was installed.

**Incorrect (downloads everything, and throws it away):**

```dockerfile
FROM python:3.12-slim
COPY --from=ghcr.io/astral-sh/uv /uv /bin/uv
WORKDIR /app
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-cache
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM python:3.12-slim
COPY --from=ghcr.io/astral-sh/uv /uv /bin/uv
WORKDIR /app
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked
```

The mount is another file system than the environment, so uv copies where it would have made
hard links; `ENV UV_LINK_MODE=copy` says that this is meant.

See also: [`use-cache-mount-pip`](use-cache-mount-pip.md), [`cache-mount-path`](cache-mount-
path.md)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.python import UV


def check(project: Project) -> Iterator[Finding]:
    if "symlink" in project.dockerfile.source.text:
        return  # environments whose files are links into the cache need it at run time
    yield from missing_mounts(project, UV, rule="use-cache-mount-uv")
