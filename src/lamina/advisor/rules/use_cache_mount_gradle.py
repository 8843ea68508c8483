r"""---
title: Use a cache mount for Gradle
impact: HIGH
impactDescription: dependencies are downloaded once, not on every change of the source
tags: dep, cache-mount, gradle, java, kotlin
---

Gradle keeps dependencies, and what it compiled of build scripts, in `caches` of its user home.
It guards them by locks whose holder must answer over a socket, which one in another container
cannot: two builds at once wait for each other until they fail, so the mount is `locked`.

**Incorrect (downloads everything again):**

```dockerfile
FROM gradle:8-jdk21 AS build
WORKDIR /src
COPY . .
RUN gradle --no-daemon assemble

FROM eclipse-temurin:21-jre
COPY --from=build /src/build/libs/app.jar /app.jar
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM gradle:8-jdk21 AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.gradle/caches,sharing=locked \
    gradle --no-daemon assemble

FROM eclipse-temurin:21-jre
COPY --from=build /src/build/libs/app.jar /app.jar
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.native import GRADLE

_OFFLINE = re.compile(r"\bgradlew?\b[^\n]*\s--offline\b")


def check(project: Project) -> Iterator[Finding]:
    if _OFFLINE.search(project.dockerfile.source.text):
        return  # a later step needs the caches to be filled
    yield from missing_mounts(project, GRADLE, rule="use-cache-mount-gradle")
