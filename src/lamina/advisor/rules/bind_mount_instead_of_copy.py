r"""---
title: Mount files that one step reads, instead of copying them
impact: LOW-MEDIUM
impactDescription: one layer less to write, to keep and to look up
tags: layer-order, bind-mount
---

A stage that is thrown away copies files only for a command to read them. A bind mount shows
them to that command and leaves them in no layer: neither in the stage nor in the cache. It
cannot be written to, so it is right for commands that only read, and write somewhere else.

**Incorrect (the source becomes a layer of a stage that nobody keeps):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
COPY . .
RUN go build -o /bin/app .

FROM gcr.io/distroless/static
COPY --from=build /bin/app /app
```

**Correct (it is there while it is compiled):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
RUN --mount=type=bind,target=. \
    go build -o /bin/app .

FROM gcr.io/distroless/static
COPY --from=build /bin/app /app
```

**Incorrect (manifests that come again with the source):**

```dockerfile
FROM node:22-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build

FROM nginx:1.27
COPY --from=build /app/dist /usr/share/nginx/html
```

**Correct (mounted for the one command that reads them):**

```dockerfile
FROM node:22-slim AS build
WORKDIR /app
RUN --mount=type=bind,source=package.json,target=package.json \
    --mount=type=bind,source=package-lock.json,target=package-lock.json \
    npm ci
COPY . .
RUN npm run build

FROM nginx:1.27
COPY --from=build /app/dist /usr/share/nginx/html
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.binds import replaceable
from lamina.advisor.editing import add_flags, remove_instruction
from lamina.advisor.finding import Finding, Fix
from lamina.advisor.project import Project


def check(project: Project) -> Iterator[Finding]:
    dockerfile = project.dockerfile
    for one in replaceable(project):
        assert one.run.run is not None
        copy, run = dockerfile.node(one.copy.command), one.run.run.node
        edits = (remove_instruction(dockerfile, copy), add_flags(dockerfile, run, one.flags))
        yield Finding(
            rule="bind-mount-instead-of-copy",
            span=copy.code,
            message=f"only the RUN of line {run.code.line} reads these files",
            fix=Fix(title="mount them for that RUN", edits=edits),
        )
