r"""---
title: Mount the folder that the tool uses
impact: HIGH
impactDescription: the mount stays empty, and the real cache ends up in the image
tags: dep, cache-mount
---

A cache mount does something only at the folder that the tool uses: for the tool that is called,
for the user that calls it, and with the variables that are set. uv does not read pip's cache, a
user does not read root's, and yarn, as root, does not look into HOME.

**Incorrect (pip's folder, but uv is called):**

```dockerfile
FROM python:3.12-slim
COPY --from=ghcr.io/astral-sh/uv /uv /bin/uv
RUN --mount=type=cache,target=/root/.cache/pip \
    uv pip install --system flask
```

**Correct (uv's own):**

```dockerfile
FROM python:3.12-slim
COPY --from=ghcr.io/astral-sh/uv /uv /bin/uv
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --system flask
```

**Incorrect (root's folder, but another user's step):**

```dockerfile
FROM node:22-slim
WORKDIR /home/node/app
USER node
RUN --mount=type=cache,target=/root/.npm,uid=1000,gid=1000 npm ci
```

**Correct (the folder of that user):**

```dockerfile
FROM node:22-slim
WORKDIR /home/node/app
USER node
RUN --mount=type=cache,target=/home/node/.npm,uid=1000,gid=1000 npm ci
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding, Fix
from lamina.advisor.folders import misplaced
from lamina.advisor.mounts import with_option
from lamina.advisor.project import Project
from lamina.advisor.stagestate import walk


def check(project: Project) -> Iterator[Finding]:
    for place in walk(project):
        for wrong in misplaced(project, place):
            folders = " and ".join(need.folder for need in wrong.needs)
            edit = with_option(wrong.mount, "target", wrong.needs[0].folder)
            title = f"mount {wrong.needs[0].folder}"
            yield Finding(
                rule="cache-mount-path",
                span=wrong.mount.span,
                message=f"nothing here uses {wrong.mount.target}: {wrong.tool.name} has {folders}",
                fix=Fix(title=title, edits=(edit,)) if len(wrong.needs) == 1 else None,
            )
