r"""---
title: Use a cache mount for yarn
impact: MEDIUM-HIGH
impactDescription: packages are downloaded once, not on every change of the lock file
tags: dep, cache-mount, yarn, node, javascript
---

Version 1 of yarn keeps archives and their contents in a cache folder. For root that is
`/usr/local/share/.cache/yarn`, and not, as for other users, `~/.cache/yarn`: a mount at the
second path would stay empty.

**Incorrect (downloads everything again):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY package.json yarn.lock ./
RUN yarn install --frozen-lockfile && yarn cache clean
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY package.json yarn.lock ./
RUN --mount=type=cache,target=/usr/local/share/.cache/yarn \
    yarn install --frozen-lockfile
```

Nothing is said of later versions of yarn: their cache may be what the program runs from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.javascript import YARN

_LATER = re.compile(r"\.yarnrc\.yml|\.yarn\b|\bcorepack\b|--immutable\b|set version|\bberry\b")


def check(project: Project) -> Iterator[Finding]:
    if _is_later(project):
        return
    yield from missing_mounts(project, YARN, rule="use-cache-mount-yarn")


def _is_later(project: Project) -> bool:
    """Whether anything speaks of a version above 1."""
    kept = project.context.kept if project.context is not None else ()
    marks = (b".yarnrc.yml", b".pnp.cjs")
    named = any(one.path.rpartition(b"/")[2] in marks for one in kept)
    return named or _LATER.search(project.dockerfile.source.text) is not None
