"""---
title: Put Comments on Lines of Their Own
impact: MEDIUM
impactDescription: the build does not look for files that are called like words of a comment
tags: copying, comments
---

## Put Comments on Lines of Their Own

A `#` starts a comment at the start of a line only. Behind the arguments of `COPY` it is a source
like the others, and the last word of the comment is the destination: the build fails, as there are
no such files.

**Incorrect (looks for a file `#`, and writes to `directory`):**

```dockerfile
FROM node
WORKDIR /app
COPY . .          # Copy over all files in the current directory
RUN npm build     # Run build
```

```files
package.json 20
```

**Correct (a comment is a line):**

```dockerfile
FROM node
WORKDIR /app
# Copy over all files in the current directory
COPY . .
RUN npm build     # Run build
```

```files
package.json 20
```

Reference: [Dockerfile reference: format](https://docs.docker.com/reference/dockerfile/#format)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.editing import line_end
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.dockerfile.instructions.commands import AddCommand, CopyCommand
from lamina.source import Span

RULE = "comment-behind-copy"
_COMMENTED = re.compile(
    r"(?P<code>\s*\S+(?:[ \t]+(?!#)\S+){2,}?)[ \t]+(?P<comment>#[ \t]+[^\r\n]*?)[ \t]*"
)


def check(project: Project) -> Iterator[Finding]:
    """COPY and ADD whose line goes on with what looks like a comment."""
    there = {one.path for one in project.context.kept} if project.context is not None else set()
    for stage in project.dockerfile.stages:
        for command in stage.commands:
            if not isinstance(command, CopyCommand | AddCommand) or b"#" in there:
                continue
            node = project.dockerfile.node(command)
            match = _COMMENTED.fullmatch(node.code.text)
            if match is None or "#" not in command.sources or node.json:
                continue
            code, comment = match["code"], match["comment"]
            indent = node.span.text[: node.code.start - node.span.start]
            start = node.code.start + match.start("comment")
            yield Finding(
                rule=RULE,
                span=Span(node.span.file, start, start + len(comment)),
                message="this is no comment, but sources and a destination: give it its own line",
                fix=Fix(
                    title="put the comment above",
                    edits=(Edit(node.code, f"{comment}{line_end(node)}{indent}{code}"),),
                ),
            )
