"""---
title: Give Builds in CI an External Cache
impact: HIGH
impactDescription: a build on a new machine starts from what the last one made
tags: external-cache, ci, github
---

## Give Builds in CI an External Cache

A machine that is made for one job has nothing in its builder's own cache: every build does all the
work again. With `cache-to` the results are kept elsewhere, with `cache-from` the next build goes on
from them; `mode=max` keeps those of all stages.

**Incorrect (every build starts from nothing):**

```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

```yaml .github/workflows/ci.yml
name: ci

on:
  push:

jobs:
  docker:
    runs-on: ubuntu-latest
    steps:
      - name: Set up Docker Buildx
        uses: docker/setup-buildx-action@v3

      - name: Build and push
        uses: docker/build-push-action@v6
        with:
          push: true
          tags: user/app:latest
```

**Correct (it goes on from the last one):**

```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

```yaml .github/workflows/ci.yml
name: ci

on:
  push:

jobs:
  docker:
    runs-on: ubuntu-latest
    steps:
      - name: Set up Docker Buildx
        uses: docker/setup-buildx-action@v3

      - name: Build and push
        uses: docker/build-push-action@v6
        with:
          push: true
          tags: user/app:latest
          cache-from: type=registry,ref=user/app:buildcache
          cache-to: type=registry,ref=user/app:buildcache,mode=max
```

**Incorrect (also one that only tests):**

```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

```yaml .github/workflows/test.yml
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v5
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          context: .
          load: true
      - run: docker run --rm app test
```

**Correct (with GitHub's own cache):**

```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

```yaml .github/workflows/test.yml
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v5
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          context: .
          load: true
          cache-from: type=gha
          cache-to: type=gha,mode=max
      - run: docker run --rm app test
```

Reference: [Optimize cache usage: use an external cache](https://docs.docker.com/build/cache/optimize/#use-an-external-cache)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.workflows.calls import BuildCall, Job
from lamina.advisor.workflows.reading import calls_of

RULE = "build-without-cache"


def check(project: Project) -> Iterator[Finding]:
    """Builds on machines that are thrown away, with no cache from elsewhere."""
    for call in calls_of(project):
        job = call.job
        if job is not None and job.ephemeral and not call.cached and not call.quiet:
            yield Finding(
                rule=RULE,
                span=call.span,
                message="every build starts from nothing: there is no cache-from and no cache-to",
                fix=_fix(call, job),
            )


def _fix(call: BuildCall, job: Job) -> Fix | None:
    """A cache beside the image where one is pushed, GitHub's own elsewhere."""
    if call.options is None or not job.builder or job.matrix is None or job.matrix:
        return None
    place, indent = call.options
    tested = bool(job.triggers & {"pull_request", "pull_request_target"})
    if call.image and not tested:
        where = f"type=registry,ref={call.image}:buildcache"
    elif "pull_request_target" in job.triggers:
        return None
    else:
        where = "type=gha"
    end = "\r\n" if "\r\n" in place.file.text else "\n"
    lines = f"{indent}cache-from: {where}{end}{indent}cache-to: {where},mode=max{end}"
    return Fix(title="add an external cache", edits=(Edit(place, lines),))
