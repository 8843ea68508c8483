r"""---
title: Let apt keep the packages that a cache mount is for
impact: HIGH
impactDescription: the mount stays empty, and every package is downloaded again
tags: dep, cache-mount, apt, debian, ubuntu
---

Images of Debian and Ubuntu hold `/etc/apt/apt.conf.d/docker-clean`, which deletes every package
right after it was installed. A cache mount at `/var/cache/apt` is then empty at the end of the
step, and spares nothing. The file has to go before.

**Incorrect (the packages are gone when the step ends):**

```dockerfile
FROM debian:bookworm-slim
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && apt-get install -y gcc
```

**Correct (they stay in the mount):**

```dockerfile
FROM debian:bookworm-slim
# Images of Debian and Ubuntu delete every package once it is installed:
# without this, the cache mounts below would stay empty.
RUN rm -f /etc/apt/apt.conf.d/docker-clean; \
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache

RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && apt-get install -y gcc
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.apt import PACKAGES, installs, keep_packages, packages_kept
from lamina.advisor.finding import Finding, Fix
from lamina.advisor.mounts import mounts_of, related
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, lineage, walk


def check(project: Project) -> Iterator[Finding]:
    said: set[int] = set()
    for place in walk(project):
        if not installs(place) or not _mounted(project, place) or packages_kept(project, place):
            continue
        if place.run is None or not said.isdisjoint(lineage(project, place.number)):
            continue
        said.add(place.number)
        edit = keep_packages(project, place)
        yield Finding(
            rule="apt-packages-deleted",
            span=place.run.node.code,
            message=f"the image's docker-clean empties the mount at {PACKAGES} after every install",
            fix=Fix(title="remove docker-clean first", edits=(edit,)) if edit else None,
        )


def _mounted(project: Project, place: Place) -> bool:
    mounts = mounts_of(project.dockerfile, place)
    return any(mount.is_cache and related(mount.target or "", PACKAGES) for mount in mounts)
