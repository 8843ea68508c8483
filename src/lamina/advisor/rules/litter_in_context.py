"""---
title: Let the Ignore File Name What No Build Needs
impact: MEDIUM
impactDescription: the source is not copied again for a commit, an editor's file or local packages
tags: context, dockerignore
---

## Let the Ignore File Name What No Build Needs

There is an ignore file, but it does not name all that a broad `COPY` takes along for nothing:
history, packages and virtual environments that were installed on this machine, files of editors and
caches of tools. Every change of one of them makes the step and all below it run again.

The fix adds a line to the ignore file. It is not a safe one: a build may want what looks like
litter. Where a command asks git for something, or a manifest makes the version of the project from
its history, `.git` is left alone.

**Incorrect (every commit changes what is copied):**

```dockerfile
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY . .
```

```dockerignore
*.log
```

```files
requirements.txt 50
app.py 50
.git/HEAD 20
```

**Correct (history stays out):**

```dockerfile
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY . .
```

```dockerignore
*.log
.git
```

```files
requirements.txt 50
app.py 50
.git/HEAD 20
```

Reference: [.dockerignore files](https://docs.docker.com/build/concepts/context/#dockerignore-files)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.litter import litter
from lamina.advisor.project import Project
from lamina.source import Span

RULE = "litter-in-context"


def check(project: Project) -> Iterator[Finding]:
    """What an ignore file forgets."""
    ignore = project.sources.ignore
    if ignore is None:
        return
    end = Span(ignore, len(ignore.text), len(ignore.text))
    newline = "\r\n" if "\r\n" in ignore.text else "\n"
    before = newline if ignore.text and not ignore.text.endswith("\n") else ""
    for one in litter(project):
        yield Finding(
            rule=RULE,
            span=one.use.span,
            message=f"this copies {one.pattern} along ({one.why})",
            fix=Fix(
                title=f"add {one.pattern} to the ignore file",
                edits=(Edit(end, f"{before}{one.pattern}{newline}"),),
                safe=False,
            ),
        )
