"""---
name: MaintainerDeprecated
title: The MAINTAINER instruction is deprecated, use a label instead to define an image author
impact: LOW
impactDescription: tools that show labels do not show it
tags: docker, labels
url: https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
---

Labels are what tools read and what the OCI image specification has a name for.

**Incorrect (a field that nobody reads):**

```dockerfile
FROM alpine
MAINTAINER Ada <ada@example.org>
```

**Correct (the label of the specification):**

```dockerfile
FROM alpine
LABEL org.opencontainers.image.authors="Ada <ada@example.org>"
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.wording import nodes_read
from lamina.dockerfile.syntax import Instruction


def check(project: Project) -> Iterator[Finding]:
    escape = project.dockerfile.syntax.escape
    for node in nodes_read(project.dockerfile):
        if node.name == "maintainer":
            yield Finding(
                rule="MaintainerDeprecated",
                span=node.code,
                message="Maintainer instruction is deprecated in favor of using label",
                fix=_fix(node, escape),
            )


def _fix(node: Instruction, escape: str) -> Fix | None:
    if len(node.args) != 1 or node.flags:
        return None
    keyword = "label" if node.keyword == node.keyword.lower() else "LABEL"
    value = node.args[0]
    if value[:1] == value[-1:] and value[:1] in ('"', "'") and len(value) > 1:
        value = value[1:-1]  # quotes that somebody wrote around all of it, and did not mean
    quoted = "".join(escape + letter if letter in f'"${escape}' else letter for letter in value)
    text = f'{keyword} org.opencontainers.image.authors="{quoted}"'
    return Fix(title="make it a label", edits=(Edit(node.code, text),), safe=False)
