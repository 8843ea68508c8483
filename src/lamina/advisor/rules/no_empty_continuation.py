"""---
name: NoEmptyContinuation
title: Empty continuation lines will become errors in a future release
impact: LOW
impactDescription: the instruction goes on where a reader sees its end
tags: docker, syntax
url: https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/
skip: file
---

An empty line within an instruction does not end it. It looks as if it did, and Docker has announced
that such lines will be refused. Where a gap is wanted, a comment makes one.

**Incorrect (an empty line behind a backslash):**

```dockerfile
FROM alpine
RUN apk add \\

    make \\
    gcc
```

**Correct (no line in between):**

```dockerfile
FROM alpine
RUN apk add \\
    make \\
    gcc
```
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.dockerfile.syntax import Instruction
from lamina.source import SourceFile, Span


def check(project: Project) -> Iterator[Finding]:
    dockerfile = project.dockerfile
    nodes = tuple(dockerfile.syntax.instructions)
    starts = [node.span.start for node in nodes]
    for warning in dockerfile.syntax.warnings:
        # The file may have been cut off above an error; places stay what they are.
        span = Span(dockerfile.source, warning.span.start, warning.span.end)
        node = nodes[bisect.bisect_right(starts, span.start) - 1]
        yield Finding(
            rule="NoEmptyContinuation",
            span=_line(span),
            message="Empty continuation line",
            fix=Fix(title="remove the empty lines", edits=_removed(node, span, dockerfile.source)),
        )


def _line(span: Span) -> Span:
    """Without its line end."""
    return Span(span.file, span.start, span.start + len(span.text.rstrip("\r\n")))


def _removed(node: Instruction, last: Span, source: SourceFile) -> tuple[Edit, ...]:
    """Cuts the empty lines out, from the instruction's first line to its last."""
    edits, start = [], node.span.start
    while start < last.end:
        end = source.text.find("\n", start) + 1 or len(source.text)
        if not source.text[start:end].strip():
            edits.append(Edit(Span(source, start, end), ""))
        start = end
    return tuple(edits)
