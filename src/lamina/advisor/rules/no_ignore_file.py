"""---
title: Keep Litter Out of the Build Context
name: no-ignore-file
impact: MEDIUM-HIGH
impactDescription: the source is not copied again for a commit, an editor's file or local packages
tags: context, dockerignore
---

## Keep Litter Out of the Build Context

`COPY . .` takes all of the build context: the history of the repository, packages that were
installed on this machine, what an editor left. They make the image larger, and every change of one
of them makes the step and all below it run again. A `.dockerignore` file keeps them out.

The fix writes one for what lies there. It is not a safe one: a build may want what looks like
litter.

**Incorrect (everything is copied):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
```

```files
package.json 50
package-lock.json 50
index.js 20
.git/HEAD 20
.git/objects/pack/pack-1.pack 4000
node_modules/express/index.js 500
```

**Correct (the source is):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
```

```dockerignore
.git
node_modules
```

```files
package.json 50
package-lock.json 50
index.js 20
.git/HEAD 20
.git/objects/pack/pack-1.pack 4000
node_modules/express/index.js 500
```

Reference: [Optimize cache usage: keep the context small](https://docs.docker.com/build/cache/optimize/#keep-the-context-small)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding, Fix, NewFile
from lamina.advisor.litter import litter, secrets
from lamina.advisor.project import Project

RULE = "no-ignore-file"


def check(project: Project) -> Iterator[Finding]:
    """A broad COPY that takes litter, in a context without an ignore file."""
    if project.sources.ignore is not None:
        return
    found = list(litter(project))
    if not found:
        return
    patterns = sorted({one.pattern for one in (*found, *secrets(project))})
    first = min(found, key=lambda one: one.use.span.start)
    names = ", ".join(sorted(one.pattern for one in found)[:4])
    yield Finding(
        rule=RULE,
        span=first.use.span,
        message=f"there is no .dockerignore, and this copies {names} along",
        fix=Fix(
            title="write a .dockerignore",
            files=(NewFile(path=".dockerignore", text="".join(f"{one}\n" for one in patterns)),),
            safe=False,
        ),
    )
