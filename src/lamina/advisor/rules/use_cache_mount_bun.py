r"""---
title: Use a cache mount for bun
impact: MEDIUM
impactDescription: packages are downloaded once, not on every change of the lock file
tags: dep, cache-mount, bun, javascript
---

bun keeps the contents of packages in `~/.bun/install/cache` and copies them into
`node_modules`. In a cache mount they survive the build and stay out of the image.

**Incorrect (downloads everything again):**

```dockerfile
FROM oven/bun:1
WORKDIR /app
COPY package.json bun.lock ./
RUN bun install --frozen-lockfile --production
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM oven/bun:1
WORKDIR /app
COPY package.json bun.lock ./
RUN --mount=type=cache,target=/root/.bun/install/cache \
    bun install --frozen-lockfile --production
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.javascript import BUN


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, BUN, rule="use-cache-mount-bun")
