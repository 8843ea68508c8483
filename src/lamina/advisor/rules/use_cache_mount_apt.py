r"""---
title: Use a cache mount for apt
impact: MEDIUM-HIGH
impactDescription: lists and packages are downloaded once, not on every change of the list
tags: dep, cache-mount, apt, debian, ubuntu
---

`apt-get install` downloads the lists of all packages and every package again whenever its step
runs, even if one name was added. Two cache mounts keep both between builds and out of the
image, so nothing has to be removed at the end. Images of Debian and Ubuntu delete packages
right after they are installed, by a hook of dpkg that has to go first; and apt gives up where
another holds its locks, so the mounts are `locked`.

**Incorrect (everything is downloaded again for any change):**

```dockerfile
FROM debian:bookworm-slim

RUN apt-get update && apt-get install -y --no-install-recommends \
    build-essential \
    libpq-dev \
    libxml2-dev \
    libxslt1-dev \
    curl \
    ca-certificates \
    && rm -rf /var/lib/apt/lists/*
```

**Correct (a new package costs one download):**

```dockerfile
FROM debian:bookworm-slim

# Images of Debian and Ubuntu delete every package once it is installed:
# without this, the cache mounts below would stay empty.
RUN rm -f /etc/apt/apt.conf.d/docker-clean; \
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache

RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends \
    build-essential \
    libpq-dev \
    libxml2-dev \
    libxslt1-dev \
    curl \
    ca-certificates
```

**Incorrect (packages that are removed again):**

```dockerfile
FROM debian:bookworm-slim
RUN set -e; apt-get update; apt-get install -y gcc; make; \
    apt-get purge -y --auto-remove gcc; rm -rf /var/lib/apt/lists/* /tmp/build
```

**Correct (what apt notes of packages stays in the image, the lists alone are mounted):**

```dockerfile
FROM debian:bookworm-slim
# Images of Debian and Ubuntu delete every package once it is installed:
# without this, the cache mounts below would stay empty.
RUN rm -f /etc/apt/apt.conf.d/docker-clean; \
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache

RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    set -e; apt-get update; apt-get install -y gcc; make; \
    apt-get purge -y --auto-remove gcc; rm -rf /tmp/build
```

See also: [`apt-packages-deleted`](apt-packages-deleted.md), [`cache-mount-sharing`](cache-
mount-sharing.md)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.apt import missing_apt_mounts
from lamina.advisor.finding import Finding
from lamina.advisor.project import Project


def check(project: Project) -> Iterator[Finding]:
    yield from missing_apt_mounts(project, rule="use-cache-mount-apt")
