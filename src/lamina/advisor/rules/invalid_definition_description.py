"""---
name: InvalidDefinitionDescription
title: "Comment for build stage or argument should follow the format: `# <arg/stage name>
  <description>`. If this is not intended to be a description comment, add an empty line or
  comment between the instruction and the comment."
impact: LOW
impactDescription: tools that list stages and arguments show no description
tags: docker, style
url: https://docs.docker.com/go/dockerfile/rule/invalid-definition-description/
experimental: true
---

A comment above a FROM or an ARG that starts with the name of the stage or argument describes it,
and `lamina build --call=targets` shows that. An empty comment between the two says that a comment
is none of that kind. Looked at only with `# check=experimental=InvalidDefinitionDescription`.

**Incorrect (a comment that may be meant as a description):**

```dockerfile
# check=experimental=InvalidDefinitionDescription
# the version to build
ARG VERSION=1
FROM alpine
```

**Correct (a comment that is none):**

```dockerfile
# check=experimental=InvalidDefinitionDescription
# the version to build
#
ARG VERSION=1
FROM alpine
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.wording import nodes_read
from lamina.dockerfile.instructions.commands import ArgCommand, Stage
from lamina.dockerfile.instructions.parse import parse_instruction
from lamina.dockerfile.problems import InstructionError
from lamina.dockerfile.syntax import Instruction
from lamina.source import Span


def check(project: Project) -> Iterator[Finding]:
    for node in nodes_read(project.dockerfile):
        if not node.comments or node.name not in ("from", "arg"):
            continue
        names = _names(node)
        if not names or node.comments[-1].split(" ")[0] in names:
            continue
        example = names[0] if len(names) == 1 else "<arg_key>"
        yield Finding(
            rule="InvalidDefinitionDescription",
            span=node.code,
            message=(
                f"Comment for {node.name.upper()} should follow the format: "
                f"`# {example} <description>`"
            ),
            fix=_fix(node),
        )


def _names(node: Instruction) -> tuple[str, ...]:
    """What the instruction defines."""
    try:
        command = parse_instruction(node)
    except InstructionError:
        return ()
    match command:
        case Stage(name=name):
            return (name,) if name else ()
        case ArgCommand(args=args):
            return tuple(arg.key for arg in args)
    return ()


def _fix(node: Instruction) -> Fix:
    line_end = "\r\n" if node.span.text.partition("\n")[0].endswith("\r") else "\n"
    start = Span(node.span.file, node.span.start, node.span.start)
    return Fix(title="set the comment apart", edits=(Edit(start, f"#{line_end}"),))
