"""---
name: CopyIgnoredFile
title: Attempting to Copy file that is excluded by .dockerignore
impact: HIGH
impactDescription: the build fails, or copies less than it says
tags: docker, context
url: https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/
---

What the ignore file keeps out of the build context is not there for COPY and ADD. An ignore file
with exceptions (`!`) is not judged.

**Incorrect (a file that is kept out):**

```dockerfile
FROM alpine
COPY notes/todo.txt /
```

```dockerignore
notes
```

**Correct (one that is let in):**

```dockerfile
FROM alpine
COPY notes/todo.txt /
```

```dockerignore
tmp
```
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.dockerfile.git_ref import parse_git_ref
from lamina.dockerfile.ignore_matcher import IgnoreMatcher
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.dockerfile.instructions.commands import AddCommand, CopyCommand
from lamina.dockerfile.problems import GitReferenceError
from lamina.dockerfile.sources import is_http_url
from lamina.errors import UserError
from lamina.notation.gostrings import quote

_EVERYTHING = ("*", "**", "**/*")


def check(project: Project) -> Iterator[Finding]:
    matcher = _matcher(project)
    if matcher is None:
        return
    for step in project.evaluation.steps:
        command = step.command
        if not isinstance(command, AddCommand | CopyCommand) or _is_elsewhere(command):
            continue
        verb = "Add" if isinstance(command, AddCommand) else "Copy"
        for source in command.sources:
            path = posixpath.normpath(source)
            if _is_local(source) and _is_ignored(path, matcher):
                yield Finding(
                    rule="CopyIgnoredFile",
                    span=command.span,
                    message=(
                        f"Attempting to {verb} file {quote(path)} that is excluded by .dockerignore"
                    ),
                )


def _matcher(project: Project) -> IgnoreMatcher | None:
    """None where there is nothing to judge."""
    if project.sources.ignore is None:
        return None
    try:
        matcher = parse_ignore_file(project.sources.ignore)
    except UserError:
        return None
    return matcher if matcher.patterns and not matcher.has_exclusions else None


def _is_elsewhere(command: AddCommand | CopyCommand) -> bool:
    return isinstance(command, CopyCommand) and bool(command.from_)


def _is_local(source: str) -> bool:
    if is_http_url(source):
        return False
    try:
        return parse_git_ref(source).like_local
    except GitReferenceError as error:
        return not error.is_git


def _is_ignored(path: str, matcher: IgnoreMatcher) -> bool:
    """The root of the context is ignored only by what ignores everything."""
    if path in (".", "/") and not any(one.text in _EVERYTHING for one in matcher.patterns):
        return False
    return matcher.matches_or_parent_matches(path)
