"""---
title: Keep Secrets Out of the Image
impact: CRITICAL
impactDescription: keys and passwords do not end up in layers and caches that others can read
tags: context, dockerignore, security
---

## Keep Secrets Out of the Image

A broad `COPY` takes files with keys and passwords along. They are then in a layer of the image and
in every cache that holds it, also if a later step removes them. What a step needs is given to it
with `RUN --mount=type=secret`; what runs later gets it when it runs.

Only files that do hold something are named: a private key, a token in `.npmrc`, a password in
`.env`.

**Incorrect (the token becomes a part of the image):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY . .
CMD ["node", "index.js"]
```

```dockerignore
.git
```

```ini .env
DATABASE_PASSWORD=correct-horse-battery
```

```files
index.js 20
```

**Correct (it stays where it is):**

```dockerfile
FROM node:22-slim
WORKDIR /app
COPY . .
CMD ["node", "index.js"]
```

```dockerignore
.git
.env
```

```files
index.js 20
```

Reference: [Build secrets](https://docs.docker.com/build/building/secrets/)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.litter import secrets
from lamina.advisor.project import Project
from lamina.source import Span

RULE = "secret-in-context"


def check(project: Project) -> Iterator[Finding]:
    """Files with secrets that a COPY takes."""
    ignore = project.sources.ignore
    for one in secrets(project):
        fix = None
        if ignore is not None:
            end = Span(ignore, len(ignore.text), len(ignore.text))
            before = "\n" if ignore.text and not ignore.text.endswith("\n") else ""
            fix = Fix(
                title=f"add {one.pattern} to the ignore file",
                edits=(Edit(end, f"{before}{one.pattern}\n"),),
                safe=False,
            )
        yield Finding(
            rule=RULE,
            span=one.use.span,
            message=f"this copies {one.pattern} into the image, which holds {one.why}",
            fix=fix,
        )
