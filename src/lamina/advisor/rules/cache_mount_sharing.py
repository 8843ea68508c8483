r"""---
title: Lock cache mounts that two steps may not use at once
impact: MEDIUM-HIGH
impactDescription: parallel steps fail on each other's locks, or break the cache
tags: dep, cache-mount, sharing
---

By default steps share a cache mount at the same time: stages of one build, and builds at once.
Some tools cannot bear it. apt gives up where another holds its lock; dnf and Gradle have locks
that mean nothing in another container. cargo, Maven, yarn and apk keep their locks outside of
the folder, or have none: they need it where two stages of the file meet. `sharing=locked` makes
the second step wait.

**Incorrect (two builds at once fail on apt's lock):**

```dockerfile
FROM debian:bookworm-slim
RUN --mount=type=cache,target=/var/cache/apt \
    --mount=type=cache,target=/var/lib/apt,sharing=shared \
    apt-get update && apt-get install -y gcc
```

**Correct (one waits for the other):**

```dockerfile
FROM debian:bookworm-slim
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && apt-get install -y gcc
```

**Incorrect (both stages write to one registry):**

```dockerfile
FROM rust:1.85 AS server
WORKDIR /app
COPY server .
RUN --mount=type=cache,target=/usr/local/cargo/registry cargo install --path .

FROM rust:1.85 AS worker
WORKDIR /app
COPY worker .
RUN --mount=type=cache,target=/usr/local/cargo/registry cargo install --path .

FROM debian:bookworm-slim
COPY --from=server /usr/local/cargo/bin/server /bin/
COPY --from=worker /usr/local/cargo/bin/worker /bin/
```

**Correct (one after the other):**

```dockerfile
FROM rust:1.85 AS server
WORKDIR /app
COPY server .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked cargo install --path .

FROM rust:1.85 AS worker
WORKDIR /app
COPY worker .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked cargo install --path .

FROM debian:bookworm-slim
COPY --from=server /usr/local/cargo/bin/server /bin/
COPY --from=worker /usr/local/cargo/bin/worker /bin/
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding, Fix
from lamina.advisor.folders import caches_of
from lamina.advisor.mounts import Mounted, with_option
from lamina.advisor.parallel import parallel
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, walk
from lamina.advisor.tools.tool import Locking, Tool
from lamina.graph.mounts import Sharing


def check(project: Project) -> Iterator[Finding]:
    found = [(place, *each) for place in walk(project) for each in caches_of(project, place)]
    said: set[int] = set()
    for place, mount, tool, _ in found:
        if mount.flag.sharing in (Sharing.LOCKED, Sharing.PRIVATE) or mount.flag.read_only:
            continue
        others = [(other, mounted) for other, mounted, *_ in found]
        if mount.span.start in said or not _needs_lock(project, place, mount, tool, others):
            continue
        said.add(mount.span.start)
        yield Finding(
            rule="cache-mount-sharing",
            span=mount.span,
            message=f"{tool.name} cannot share {mount.target} with another step at the same time",
            fix=Fix(
                title="make other steps wait: sharing=locked",
                edits=(with_option(mount, "sharing", Sharing.LOCKED),),
            ),
        )


def _needs_lock(
    project: Project, place: Place, mount: Mounted, tool: Tool, others: list[tuple[Place, Mounted]]
) -> bool:
    lockings = {cache.locking for cache in tool.caches}
    if Locking.ALWAYS in lockings:
        return True
    return Locking.PARALLEL in lockings and any(
        _identity(mount) == _identity(mounted) and parallel(project, place.number, other.number)
        for other, mounted in others
    )


def _identity(mount: Mounted) -> str | None:
    return mount.flag.id or mount.target
