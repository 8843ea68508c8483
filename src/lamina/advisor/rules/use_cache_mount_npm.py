r"""---
title: Use a cache mount for npm
impact: MEDIUM-HIGH
impactDescription: packages are downloaded once, not on every change of the lock file
tags: dep, cache-mount, npm, node, javascript
---

npm keeps every archive that it downloads in `~/.npm`, by its content. In a plain RUN that
folder is emptied again or becomes dead weight of the image. A cache mount keeps it for the next
build, which then downloads only what is new.

**Incorrect (downloads everything again):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev && npm cache clean --force
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm \
    npm ci --omit=dev
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.javascript import NPM


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, NPM, rule="use-cache-mount-npm")
