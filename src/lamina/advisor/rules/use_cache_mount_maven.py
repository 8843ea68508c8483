r"""---
title: Use a cache mount for Maven
impact: HIGH
impactDescription: dependencies and plugins are downloaded once, not on every change of the source
tags: dep, cache-mount, maven, java
---

Maven keeps artifacts in `~/.m2/repository`. Every step that runs it needs the same mount, since
one reads what another downloaded. The mount is the repository alone: settings that lie beside
it stay visible.

**Incorrect (downloads the world again):**

```dockerfile
FROM maven:3.9-eclipse-temurin-21 AS build
WORKDIR /src
COPY . .
RUN mvn --batch-mode package

FROM eclipse-temurin:21-jre
COPY --from=build /src/target/app.jar /app.jar
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM maven:3.9-eclipse-temurin-21 AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.m2/repository \
    mvn --batch-mode package

FROM eclipse-temurin:21-jre
COPY --from=build /src/target/app.jar /app.jar
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.native import MAVEN

_OFFLINE = re.compile(r"\bmvnw?\b[^\n]*\s(?:-o|--offline)\b")


def check(project: Project) -> Iterator[Finding]:
    if _OFFLINE.search(project.dockerfile.source.text):
        return  # a later step needs the repository to be filled
    yield from missing_mounts(project, MAVEN, rule="use-cache-mount-maven")
