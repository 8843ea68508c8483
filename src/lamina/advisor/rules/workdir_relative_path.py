"""---
name: WorkdirRelativePath
title: Relative workdir without an absolute workdir declared within the build can have unexpected
  results if the base image changes
impact: MEDIUM
impactDescription: files land elsewhere when the base image changes its directory
tags: docker, paths
url: https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/
---

A relative WORKDIR starts from the one before it. Where the file has none, that is the base image's,
which its publisher may change.

**Incorrect (relative to what the base image says):**

```dockerfile
FROM scratch
WORKDIR app/bin
```

**Correct (from the root):**

```dockerfile
FROM scratch
WORKDIR /app/bin
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.evaluation import Step
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.wording import words
from lamina.dockerfile.instructions.commands import WorkdirCommand
from lamina.notation.gostrings import quote
from lamina.source import Span


def check(project: Project) -> Iterator[Finding]:
    for step in project.evaluation.steps:
        command = step.command
        if not isinstance(command, WorkdirCommand) or step.workdir:
            continue
        if not _is_absolute(command.path, os=step.os):
            yield Finding(
                rule="WorkdirRelativePath",
                span=command.span,
                message=(
                    f"Relative workdir {quote(command.path)} can have unexpected results if the "
                    "base image changes"
                ),
                fix=_fix(project, step),
            )


def _is_absolute(path: str, *, os: str) -> bool:
    if os != "windows":
        return path.startswith("/")
    path = path.replace("\\", "/")
    return path.startswith("/") or path[1:3] == ":/"


def _fix(project: Project, step: Step) -> Fix | None:
    """The base's directory in front, where it is known; else the root, which may be another."""
    if step.trigger or step.os == "windows":
        return None
    spans = words(project.dockerfile, project.dockerfile.node(step.written))
    if len(spans) < 2 or spans[1].text.startswith(("'", '"', "$", "-", ".")):
        return None
    directory = step.config.config.working_dir if step.config is not None else "/"
    start = spans[1].start
    return Fix(
        title="start from the root",
        edits=(Edit(Span(spans[1].file, start, start), f"{directory.rstrip('/')}/"),),
        safe=step.config is not None,
    )
