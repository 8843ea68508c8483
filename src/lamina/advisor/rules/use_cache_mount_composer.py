r"""---
title: Use a cache mount for Composer
impact: MEDIUM-HIGH
impactDescription: packages are downloaded once, not on every change of the lock file
tags: dep, cache-mount, composer, php
---

Composer keeps archives and metadata in its cache directory: `/tmp/cache` in its own image,
elsewhere as `COMPOSER_HOME` and `COMPOSER_CACHE_DIR` say. In a cache mount they survive the
build and stay out of the image.

**Incorrect (downloads every package again):**

```dockerfile
FROM composer:2 AS vendor
WORKDIR /app
COPY composer.json composer.lock ./
RUN composer install --no-dev --no-interaction && composer clear-cache
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM composer:2 AS vendor
WORKDIR /app
COPY composer.json composer.lock ./
RUN --mount=type=cache,target=/tmp/cache \
    composer install --no-dev --no-interaction
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.scripting import COMPOSER


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, COMPOSER, rule="use-cache-mount-composer")
