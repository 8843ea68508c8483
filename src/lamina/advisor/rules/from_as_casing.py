"""---
name: FromAsCasing
title: The 'as' keyword should match the case of the 'from' keyword
impact: LOW
impactDescription: a line in two styles is harder to read
tags: docker, style
url: https://docs.docker.com/go/dockerfile/rule/from-as-casing/
---

`FROM` and `AS` are the two keywords of one line, and are easier to find in it when they look alike.

**Incorrect (two styles in one line):**

```dockerfile
FROM alpine as build
```

**Correct (one style):**

```dockerfile
FROM alpine AS build
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.wording import nodes_read, words


def check(project: Project) -> Iterator[Finding]:
    dockerfile = project.dockerfile
    for node in nodes_read(dockerfile):
        if node.name != "from" or len(node.args) < 3:
            continue
        keyword, given = node.keyword, node.args[1]
        if keyword not in (keyword.lower(), keyword.upper()):
            continue  # ConsistentInstructionCasing speaks of that
        wanted = given.lower() if keyword == keyword.lower() else given.upper()
        if given == wanted:
            continue
        spans = words(dockerfile, node)
        fix = None
        if len(node.args) == 3 and len(spans) > 2 and spans[-2].text == given:
            fix = Fix(title=f"write {wanted}", edits=(Edit(spans[-2], wanted),))
        yield Finding(
            rule="FromAsCasing",
            span=node.code,
            message=f"'{given}' and '{keyword}' keywords' casing do not match",
            fix=fix,
        )
