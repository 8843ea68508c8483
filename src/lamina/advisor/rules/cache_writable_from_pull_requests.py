"""---
title: Keep Pull Requests From Writing the Shared Cache
impact: HIGH
impactDescription: nobody outside can put layers where builds of the main branch look for them
tags: external-cache, ci, github, security
---

## Keep Pull Requests From Writing the Shared Cache

What a build finds in its cache it does not do again. A workflow that also runs for pull requests,
and writes to the cache that releases are built from, lets any change under review put layers there;
at the least it replaces the cache of the main branch with that of an experiment.

GitHub's own cache (`type=gha`) keeps what a pull request writes from the main branch, except for
workflows that run on `pull_request_target`.

**Incorrect (a pull request replaces the cache):**

```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

```yaml .github/workflows/ci.yml
on:
  push:
    branches: [main]
  pull_request:
jobs:
  docker:
    runs-on: ubuntu-latest
    steps:
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          cache-from: type=registry,ref=a/b:c
          cache-to: type=registry,ref=a/b:c
```

**Correct (it reads it):**

```dockerfile
FROM alpine:3.22
RUN apk add --no-cache curl
```

```yaml .github/workflows/ci.yml
on:
  push:
    branches: [main]
  pull_request:
jobs:
  docker:
    runs-on: ubuntu-latest
    steps:
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          cache-from: type=registry,ref=a/b:c
          cache-to: ${{ github.event_name != 'pull_request' && 'type=registry,ref=a/b:c' || '' }}
```

Reference: [Cache storage backends](https://docs.docker.com/build/cache/backends/)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.workflows.calls import BuildCall, CacheOption, Kind
from lamina.advisor.workflows.reading import calls_of

RULE = "cache-writable-from-pull-requests"
_EVENTS = frozenset(("pull_request", "pull_request_target"))
_KNOWN = re.compile(
    r"\$\{\{\s*(?:github\.(?:repository|repository_owner|actor)|vars\.\w+|secrets\.\w+)\s*\}\}"
)
_PUSHED = re.compile(r"event_name|github\.ref\b|refs/heads|pull_request|github\.event|ref_name")


def check(project: Project) -> Iterator[Finding]:
    """Exports to one place for all, in workflows that run for pull requests."""
    for call in calls_of(project):
        job = call.job
        events = job.triggers & _EVENTS if job is not None else frozenset()
        if job is None or not events or _PUSHED.search(job.condition):
            continue
        for option in call.cache_to:
            shared: tuple[str, ...] = ("registry", "s3", "azblob")
            if "pull_request_target" in events:
                shared = (*shared, "gha")
            if option.conditional:
                continue
            if option.type in shared and "$" not in _KNOWN.sub("", option.text):
                yield Finding(
                    rule=RULE,
                    span=option.span,
                    message="a pull request writes into the cache that all other builds use",
                    fix=_fix(call, option) if events == {"pull_request"} else None,
                )


def _fix(call: BuildCall, option: CacheOption) -> Fix | None:
    plain = option.span.text == option.text and not {"'", "$", '"'} & set(option.text)
    text = option.span.file.text
    line = text[text.rfind("\n", 0, option.span.start) + 1 : option.span.start]
    if call.kind is not Kind.ACTION or not plain or line.strip() not in ("cache-to:", ""):
        return None
    return Fix(
        title="let pull requests read the cache only",
        edits=(
            Edit(
                option.span,
                f"${{{{ github.event_name != 'pull_request' && '{option.text}' || '' }}}}",
            ),
        ),
    )
