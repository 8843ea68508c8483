"""---
title: Give Every Job of a Matrix a Cache of Its Own
impact: MEDIUM-HIGH
impactDescription: jobs no longer replace each other's cache
tags: external-cache, ci, github
---

## Give Every Job of a Matrix a Cache of Its Own

An export takes the place of what was there under the same name. Where the jobs of a matrix write to
one name, the last one wins, and all others find nothing of theirs the next time. Jobs that build
the same may share a cache: only those whose platform, arguments, target or machine differ are
named.

**Incorrect (the last platform wins):**

```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

```yaml .github/workflows/ci.yml
on: push
jobs:
  docker:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        arch: [amd64, arm64]
    steps:
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          platforms: linux/${{ matrix.arch }}
          cache-from: type=gha
          cache-to: type=gha,mode=max
```

**Correct (each has its own):**

```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

```yaml .github/workflows/ci.yml
on: push
jobs:
  docker:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        arch: [amd64, arm64]
    steps:
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          platforms: linux/${{ matrix.arch }}
          cache-from: type=gha,scope=${{ matrix.arch }}
          cache-to: type=gha,mode=max,scope=${{ matrix.arch }}
```

Reference: [GitHub Actions cache: scope](https://docs.docker.com/build/cache/backends/gha/#scope)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.workflows.calls import BuildCall, CacheOption, Kind
from lamina.advisor.workflows.reading import calls_of
from lamina.source import Span

RULE = "one-cache-for-matrix"
_SAME_IN_ALL_JOBS = re.compile(r"\$\{\{\s*(?:github|vars|secrets)\.[\w.-]+\s*\}\}")


def check(project: Project) -> Iterator[Finding]:
    """Exports of a matrix's jobs whose names are the same in all of them."""
    for call in calls_of(project):
        job = call.job
        if job is None or job.matrix == () or call.kind is not Kind.ACTION:
            continue
        if not (call.varies or job.machine):
            continue
        if "matrix" in job.condition or "strategy" in job.condition:
            continue
        for option in call.cache_to:
            if _one_for_all(option):
                yield Finding(
                    rule=RULE,
                    span=option.span,
                    message="every job of the matrix writes its cache here, and the last one wins",
                    fix=_fix(call, option),
                )


def _one_for_all(option: CacheOption) -> bool:
    return option.type in ("gha", "registry", "s3", "azblob") and "$" not in (
        _SAME_IN_ALL_JOBS.sub("", option.text)
    )


def _fix(call: BuildCall, option: CacheOption) -> Fix | None:
    matrix = call.job.matrix if call.job is not None else None
    if option.type != "gha" or not matrix or "scope" in option.attributes:
        return None
    scope = "-".join(f"${{{{ matrix.{name} }}}}" for name in matrix)
    imports = [one for one in call.cache_from if one.type == "gha"]
    changed = (*imports, option)
    if any("scope" in one.attributes or one.span.text != one.text for one in changed):
        return None
    return Fix(
        title="give every job a scope",
        edits=tuple(
            Edit(Span(one.span.file, one.span.end, one.span.end), f",scope={scope}")
            for one in changed
        ),
    )
