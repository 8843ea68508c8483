r"""---
title: Use cache mounts for Go
impact: HIGH
impactDescription: modules are downloaded once, and only packages that changed are compiled
tags: dep, cache-mount, go
---

Go keeps modules in `GOPATH/pkg/mod` and compiled packages in `~/.cache/go-build`. Both are safe
to share between builds, also at the same time. With both in cache mounts a changed file costs
the compilation of its package and those above it; without, every package of every dependency is
compiled again.

**Incorrect (downloads and compiles everything again):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -o /bin/app ./cmd/app

FROM gcr.io/distroless/static
COPY --from=build /bin/app /app
```

**Correct (every step that uses the modules has the same mounts):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    go build -o /bin/app ./cmd/app

FROM gcr.io/distroless/static
COPY --from=build /bin/app /app
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.native import GO


def check(project: Project) -> Iterator[Finding]:
    kept = project.context.kept if project.context is not None else ()
    if any(one.path.endswith(b"vendor/modules.txt") for one in kept):
        return  # modules are part of the source
    yield from missing_mounts(project, GO, rule="use-cache-mount-go")
