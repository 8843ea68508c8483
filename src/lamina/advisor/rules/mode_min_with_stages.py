"""---
title: Export the Cache of All Stages With mode=max
impact: MEDIUM-HIGH
impactDescription: stages that compile are found in the cache, and not only those of the image
tags: external-cache, multi-stage
---

## Export the Cache of All Stages With mode=max

`mode=min`, the default, keeps the layers of the final image. The stages that files are copied from
are not among them, so a new machine does their work again although there is a cache. `mode=max`
keeps them, too.

**Incorrect (the stage that compiles is never found):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
RUN --mount=type=bind,target=. go build -o /out/app .

FROM scratch
COPY --from=build /out/app /app
```

```yaml .github/workflows/ci.yml
on: push
jobs:
  docker:
    runs-on: ubuntu-latest
    steps:
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          push: true
          tags: user/app:latest
          cache-from: type=registry,ref=user/app:buildcache
          cache-to: type=registry,ref=user/app:buildcache
```

```text docker-bake.hcl
target "app" {
  context    = "."
  cache-from = ["type=registry,ref=user/app:buildcache"]
  cache-to   = ["type=registry,ref=user/app:buildcache,mode=min"]
}
```

**Correct (all stages are kept):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
RUN --mount=type=bind,target=. go build -o /out/app .

FROM scratch
COPY --from=build /out/app /app
```

```yaml .github/workflows/ci.yml
on: push
jobs:
  docker:
    runs-on: ubuntu-latest
    steps:
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          push: true
          tags: user/app:latest
          cache-from: type=registry,ref=user/app:buildcache
          cache-to: type=registry,ref=user/app:buildcache,mode=max
```

```text docker-bake.hcl
target "app" {
  context    = "."
  cache-from = ["type=registry,ref=user/app:buildcache"]
  cache-to   = ["type=registry,ref=user/app:buildcache,mode=max"]
}
```

Reference: [Cache storage backends: cache mode](https://docs.docker.com/build/cache/backends/#cache-mode)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.workflows.calls import CacheOption
from lamina.advisor.workflows.reading import calls_of
from lamina.advisor.workflows.stages import stages_beside
from lamina.source import Span

RULE = "mode-min-with-stages"
_TYPES = ("registry", "gha", "local", "s3", "azblob")


def check(project: Project) -> Iterator[Finding]:
    """Exports of the final image's cache alone, where work is done in stages beside it."""
    for call in calls_of(project):
        for option in call.cache_to:
            mode = option.attributes.get("mode", "min")
            if option.type not in _TYPES or mode != "min" or "$" in option.text.rpartition(",")[2]:
                continue
            beside = stages_beside(project, call.target)
            if beside:
                yield Finding(
                    rule=RULE,
                    span=option.span,
                    message=f"mode=min keeps nothing of {beside[0]}, which files are copied from",
                    fix=_fix(option),
                )


def _fix(option: CacheOption) -> Fix | None:
    if "=" not in option.text or option.span.text != option.text:
        return None
    end = option.span.end
    at = option.text.find("mode=min")
    edit = Edit(Span(option.span.file, end, end), ",mode=max")
    if at >= 0:
        start = option.span.start + at
        edit = Edit(Span(option.span.file, start, start + len("mode=min")), "mode=max")
    return Fix(title="keep all stages with mode=max", edits=(edit,))
