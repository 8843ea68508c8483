r"""---
title: Use a cache mount for pnpm
impact: MEDIUM-HIGH
impactDescription: packages are downloaded once, not on every change of the lock file
tags: dep, cache-mount, pnpm, node, javascript
---

pnpm keeps the files of all packages in a store, and makes `node_modules` of them. With the
store in a cache mount, an install takes from it what it has. The store is found by `PNPM_HOME`
where that is set.

**Incorrect (downloads everything again, and keeps the store in the image):**

```dockerfile
FROM node:22-slim
ENV PNPM_HOME=/pnpm
RUN corepack enable
WORKDIR /app
COPY package.json pnpm-lock.yaml ./
RUN pnpm install --frozen-lockfile
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM node:22-slim
ENV PNPM_HOME=/pnpm
RUN corepack enable
WORKDIR /app
COPY package.json pnpm-lock.yaml ./
RUN --mount=type=cache,target=/pnpm/store \
    pnpm install --frozen-lockfile
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.javascript import PNPM

_FROM_STORE = re.compile(r"\bpnpm\b[^\n]*--offline|--package-import-method[= ](?:hardlink|symlink)")


def check(project: Project) -> Iterator[Finding]:
    if _FROM_STORE.search(project.dockerfile.source.text):
        return  # a later step needs the store to be filled
    yield from missing_mounts(project, PNPM, rule="use-cache-mount-pnpm")
