r"""---
title: Keep what was compiled for each architecture apart
impact: MEDIUM
impactDescription: builds for several platforms break or evict each other's results
tags: dep, cache-mount, multi-platform
---

A file that is built for several platforms runs its steps once for each, at the same time, and
with most builders all of them get the same cache mount. Downloads do not mind. What was
compiled does: `target`, `node_modules`, `_build` hold programs of one architecture. An `id`
with `TARGETARCH` keeps them apart.

**Incorrect (amd64 and arm64 compile into one folder):**

```dockerfile
FROM rust:1.85 AS build
ARG TARGETARCH
WORKDIR /app
COPY . .
RUN --mount=type=cache,target=/app/target \
    cargo build --release && cp target/release/app /app-$TARGETARCH

FROM debian:bookworm-slim
COPY --from=build /app-* /bin/app
```

**Correct (each has its own):**

```dockerfile
FROM rust:1.85 AS build
ARG TARGETARCH
WORKDIR /app
COPY . .
RUN --mount=type=cache,target=/app/target,id=app-target-$TARGETARCH \
    cargo build --release && cp target/release/app /app-$TARGETARCH

FROM debian:bookworm-slim
COPY --from=build /app-* /bin/app
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.editing import insert_above
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.mounts import Mounted, mounts_of, with_option
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, walk

_SEVERAL = re.compile(r"\b(?:TARGET|BUILD)(?:ARCH|PLATFORM)\b")
_COMPILED = frozenset(("target", "node_modules", "_build", ".venv", "venv", "obj", ".stack-work"))
_APART = ("$TARGETARCH", "${TARGETARCH", "$TARGETPLATFORM", "${TARGETPLATFORM", "$TARGETVARIANT")


def check(project: Project) -> Iterator[Finding]:
    if not _SEVERAL.search(project.dockerfile.source.text):
        return
    for place in walk(project):
        if "BUILDPLATFORM" in place.stage.platform:
            continue  # one platform, whatever is made there
        for mount in mounts_of(project.dockerfile, place):
            if mount.is_cache and _mixes(mount):
                yield _finding(project, place, mount)


def _mixes(mount: Mounted) -> bool:
    if mount.target is None or any(name in mount.option for name in _APART):
        return False
    return mount.target.rpartition("/")[2] in _COMPILED


def _finding(project: Project, place: Place, mount: Mounted) -> Finding:
    name = (mount.flag.id or mount.target or "").strip("/").replace("/", "-")
    edits: tuple[Edit, ...] = (with_option(mount, "id", f"{name}-$TARGETARCH"),)
    if "TARGETARCH" not in place.state.variables and place.run is not None:
        above = insert_above(project.dockerfile, place.run.node, "ARG TARGETARCH\n")
        edits = (above, *edits)
    return Finding(
        rule="cache-mount-architecture",
        span=mount.span,
        message=f"every platform compiles into the same mount at {mount.target}",
        fix=Fix(title="one mount for each architecture", edits=edits),
    )
