"""---
name: UndefinedVar
title: Variables should be defined before their use
impact: HIGH
impactDescription: the word is replaced by nothing, and the build goes on
tags: docker, variables
url: https://docs.docker.com/go/dockerfile/rule/undefined-var/
---

A variable that nobody has set by ARG or ENV is an empty text. An ARG must stand in the stage, above
its use; one above the first FROM is for FROM alone until the stage declares the name again.

What the base image sets is known where its configuration is at hand, or where it is one of the
plain distributions, which set PATH and nothing else. Of any other base only likely slips of the pen
are reported.

**Incorrect (a slip of the pen):**

```dockerfile
FROM alpine
ARG ASSETS=assets/
COPY $ASSET /srv/
```

**Correct (the name as it was declared):**

```dockerfile
FROM alpine
ARG ASSETS=assets/
COPY $ASSETS /srv/
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.evaluation import Step, Unknown
from lamina.advisor.finding import Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.wording import renamed_variable

_PLAIN = re.compile(
    r"(?:(?:index\.)?docker\.io/)?(?:library/)?(?:alpine|almalinux|amazonlinux|archlinux|busybox"
    r"|buildpack-deps|centos|debian|fedora|oraclelinux|rockylinux|ubuntu)(?:[:@].*)?"
)


def check(project: Project) -> Iterator[Finding]:
    for step in project.evaluation.steps:
        knows_all = step.known or _PLAIN.fullmatch(step.base) is not None
        for one in step.unknown:
            if knows_all or one.meant not in (None, "PATH"):  # as GOPATH is no slip for that
                hint = f" (did you mean ${one.meant}?)" if one.meant is not None else ""
                yield Finding(
                    rule="UndefinedVar",
                    span=step.written.span,
                    message=f"Usage of undefined variable '${one.name}'{hint}",
                    fix=_fix(project, step, one),
                )


def _fix(project: Project, step: Step, one: Unknown) -> Fix | None:
    if one.meant is None or step.trigger:
        return None
    node = project.dockerfile.node(step.written)
    edits = renamed_variable(node, one.name, one.meant)
    return Fix(title=f"write ${one.meant}", edits=edits, safe=False) if edits else None
