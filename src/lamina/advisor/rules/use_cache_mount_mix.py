r"""---
title: Use a cache mount for Hex
impact: MEDIUM
impactDescription: packages are downloaded once, not on every change of the lock file
tags: dep, cache-mount, mix, hex, elixir
---

`mix deps.get` unpacks dependencies into the project and keeps their archives in
`~/.hex/packages`. In a cache mount the archives survive the build. The rest of `~/.hex` is
configuration and stays visible.

**Incorrect (downloads every package again):**

```dockerfile
FROM elixir:1.18 AS build
WORKDIR /src
COPY mix.exs mix.lock ./
RUN mix local.hex --force && mix deps.get --only prod
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM elixir:1.18 AS build
WORKDIR /src
COPY mix.exs mix.lock ./
RUN --mount=type=cache,target=/root/.hex/packages \
    mix local.hex --force && mix deps.get --only prod
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.native import MIX


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, MIX, rule="use-cache-mount-mix")
