"""---
title: Declare Volatile Arguments Below Expensive Steps
impact: MEDIUM-HIGH
impactDescription: installs no longer run again for every commit or date
tags: layer-order, arg, env, label
---

## Declare Volatile Arguments Below Expensive Steps

The value of an `ARG` belongs to the key of every `RUN` below it, whether that uses it or not. One
that changes with every build (a commit, a date, a build number) makes them all run again; an `ENV`
that is made of it does the same. Below the steps that have nothing to do with it, it costs nothing.

**Incorrect (every commit installs the packages again):**

```dockerfile
FROM debian:bookworm-slim
ARG GIT_SHA
ARG BUILD_DATE
LABEL org.opencontainers.image.revision=$GIT_SHA \\
      org.opencontainers.image.created=$BUILD_DATE
RUN apt-get update && apt-get install -y --no-install-recommends curl
COPY app /usr/local/bin/app
CMD ["app"]
```

```files
app 100
```

**Correct (the install keeps its key):**

```dockerfile
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends curl
COPY app /usr/local/bin/app
ARG GIT_SHA
ARG BUILD_DATE
LABEL org.opencontainers.image.revision=$GIT_SHA \\
      org.opencontainers.image.created=$BUILD_DATE
CMD ["app"]
```

```files
app 100
```

**Incorrect (declared far above its use):**

```dockerfile
FROM golang:1.24
ARG COMMIT_SHA
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -ldflags "-X main.commit=$COMMIT_SHA" -o /out/app .
```

```files
go.mod 20
go.sum 20
main.go 50
```

**Correct (declared where it is used):**

```dockerfile
FROM golang:1.24
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG COMMIT_SHA
RUN go build -ldflags "-X main.commit=$COMMIT_SHA" -o /out/app .
```

Reference: [Dockerfile reference: impact of ARG on build caching](https://docs.docker.com/reference/dockerfile/#impact-on-build-caching)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.volatile import moved, volatile_groups

RULE = "volatile-argument-above-work"


def check(project: Project) -> Iterator[Finding]:
    """Volatile arguments above work that has nothing to do with them."""
    for group in volatile_groups(project):
        lines = ", ".join(str(place.command.span.line) for place in group.costly[:3])
        what = "line" if len(group.costly) == 1 else "lines"
        names = " and ".join(group.names)
        yield Finding(
            rule=RULE,
            span=group.members[0].command.span,
            message=(
                f"a new value of {names} makes {what} {lines} run again, which"
                f" {'does' if len(group.costly) == 1 else 'do'} not use it: declare it below"
            ),
            fix=Fix(
                title=f"move {names} below line {group.below.command.span.line}",
                edits=moved(project.dockerfile, group),
            ),
        )
