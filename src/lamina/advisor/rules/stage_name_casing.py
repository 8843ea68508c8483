"""---
name: StageNameCasing
title: Stage names should be lowercase
impact: LOW
impactDescription: a name in two spellings reads like two stages
tags: docker, style
url: https://docs.docker.com/go/dockerfile/rule/stage-name-casing/
---

Builders look stages up without regard to case, people do not. In lower case a stage's name also
cannot be taken for a variable or an instruction.

**Incorrect (capitals in the name of a stage):**

```dockerfile
FROM alpine AS BuildTools
RUN apk add --no-cache make

FROM scratch
COPY --from=buildtools /usr/bin/make /make
```

**Correct (small letters):**

```dockerfile
FROM alpine AS buildtools
RUN apk add --no-cache make

FROM scratch
COPY --from=buildtools /usr/bin/make /make
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
        if node.name != "from" or len(node.args) != 3:
            continue
        name = node.args[2]
        if name == name.lower():
            continue
        spans = words(dockerfile, node)
        fix = None
        if spans and spans[-1].text == name:
            fix = Fix(title="write the name in lower case", edits=(Edit(spans[-1], name.lower()),))
        yield Finding(
            rule="StageNameCasing",
            span=node.code,
            message=f"Stage name '{name}' should be lowercase",
            fix=fix,
        )
