r"""---
title: Use a cache mount for apk
impact: MEDIUM
impactDescription: packages are downloaded once, not on every change of the list
tags: dep, cache-mount, apk, alpine
---

apk keeps packages where the folder `/etc/apk/cache` exists, and only there. `--no-cache` turns
that off; what it does besides, to fetch a new index, `--update-cache` does as well.

**Incorrect (downloads every package again):**

```dockerfile
FROM alpine:3.21
RUN apk add --no-cache build-base linux-headers
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM alpine:3.21
RUN --mount=type=cache,target=/etc/apk/cache \
    apk add --update-cache build-base linux-headers
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.system import APK


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, APK, rule="use-cache-mount-apk")
