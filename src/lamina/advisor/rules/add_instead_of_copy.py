"""---
title: Use COPY for Local Files
impact: LOW
impactDescription: nothing is unpacked or fetched by surprise
tags: copying
---

## Use COPY for Local Files

`ADD` unpacks archives and fetches addresses; `COPY` does neither, and says so. For files and
folders of the context the result is the same.

**Incorrect (may unpack):**

```dockerfile
FROM python:3.12-slim
ADD src/ /app/src/
ADD main.py /app/
```

```files
src/a.py 20
main.py 20
```

**Correct (copies):**

```dockerfile
FROM python:3.12-slim
COPY src/ /app/src/
COPY main.py /app/
```

```files
src/a.py 20
main.py 20
```

Reference: [Building best practices: ADD or COPY](https://docs.docker.com/build/building/best-practices/#add-or-copy)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.stagestate import walk
from lamina.dockerfile.instructions.commands import AddCommand
from lamina.layer.entry import Kind
from lamina.source import Span

RULE = "add-instead-of-copy"
_ELSEWHERE = re.compile(r"[a-z+]+://|git@|[$*?\[]")
_TEXT = re.compile(
    r"(?i).*\.(?:py|js|mjs|cjs|ts|tsx|jsx|json|toml|ya?ml|txt|md|sh|go|mod|sum|rs|c|h|cpp|hpp|java|kt"
    r"|rb|php|html?|css|conf|cfg|ini|xml|sql|csv|env|lock|properties|jar|war|crt|pem|service)"
)


def check(project: Project) -> Iterator[Finding]:
    """ADDs of nothing but local files and folders that cannot be archives."""
    for place in walk(project):
        command = place.command
        if not isinstance(command, AddCommand) or not command.sources:
            continue
        asked = command.checksum or command.unpack is not None or command.keep_git_dir is not None
        if asked or not all(_is_plain(project, source) for source in command.sources):
            continue
        start = command.span.start
        keyword = Span(command.span.file, start, start + len(command.keyword))
        copy = "copy" if command.keyword.islower() else "COPY"
        yield Finding(
            rule=RULE,
            span=command.span,
            message="ADD unpacks archives and fetches addresses; this is neither: use COPY",
            fix=Fix(title="use COPY", edits=(Edit(keyword, copy),)),
        )


def _is_plain(project: Project, source: str) -> bool:
    if _ELSEWHERE.search(source):
        return False
    path = source.strip("/").removeprefix("./")
    if source in (".", "./", "/") or _TEXT.fullmatch(path):
        return True
    kept = project.context.kept if project.context is not None else ()
    return any(one.path == path.encode() and one.kind is Kind.DIRECTORY for one in kept)
