r"""---
title: Use a cache mount for pip
impact: MEDIUM-HIGH
impactDescription: wheels are downloaded and built once, not on every change of the requirements
tags: dep, cache-mount, pip, python
---

pip keeps what it downloads, and every wheel that it had to build, in a cache folder. In a plain
RUN that folder is lost with `--no-cache-dir`, or ends up in the image without it. A cache mount
keeps it out of the image and there for the next build: one changed line of the requirements
then costs one download.

**Incorrect (every build downloads everything):**

```dockerfile
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -r requirements.txt
```

**Incorrect (the same for a user who is not root):**

```dockerfile
FROM python:3.12-slim
RUN useradd --create-home --uid 1000 --user-group app
USER app
WORKDIR /home/app
COPY requirements.txt .
RUN pip install --user -r requirements.txt && rm -rf ~/.cache
```

**Correct (at the home of that user, who owns the mount):**

```dockerfile
FROM python:3.12-slim
RUN useradd --create-home --uid 1000 --user-group app
USER app
WORKDIR /home/app
COPY requirements.txt .
RUN --mount=type=cache,target=/home/app/.cache/pip,uid=1000 \
    pip install --user -r requirements.txt
```

`PIP_CACHE_DIR` and `XDG_CACHE_HOME` move the folder, and the mount has to follow.

See also: [`use-cache-mount-uv`](use-cache-mount-uv.md)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.python import PIP


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, PIP, rule="use-cache-mount-pip")
