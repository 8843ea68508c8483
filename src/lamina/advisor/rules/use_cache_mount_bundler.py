r"""---
title: Use cache mounts for Bundler
impact: MEDIUM-HIGH
impactDescription: gems are downloaded once, not on every change of the lock file
tags: dep, cache-mount, bundler, ruby
---

Bundler looks for a gem's archive in `cache` of `GEM_HOME` before it downloads it, and RubyGems
keeps its index in `~/.gem`. In cache mounts both survive the build; the installed gems stay in
the image.

**Incorrect (downloads every gem again):**

```dockerfile
FROM ruby:3.4
WORKDIR /app
COPY Gemfile Gemfile.lock ./
RUN bundle install
```

**Correct (what did not change comes out of the mounts):**

```dockerfile
FROM ruby:3.4
WORKDIR /app
COPY Gemfile Gemfile.lock ./
RUN --mount=type=cache,target=/root/.gem \
    --mount=type=cache,target=/usr/local/bundle/cache \
    bundle install
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.scripting import BUNDLER


def check(project: Project) -> Iterator[Finding]:
    if "/.gem" in project.dockerfile.source.text:
        return  # mounted already, or where gems are installed
    yield from missing_mounts(project, BUNDLER, rule="use-cache-mount-bundler")
