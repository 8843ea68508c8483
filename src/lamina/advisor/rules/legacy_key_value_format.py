"""---
name: LegacyKeyValueFormat
title: Legacy key/value format with whitespace separator should not be used
impact: LOW
impactDescription: the line means something else as soon as it has a second pair
tags: docker, syntax
url: https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/
---

`ENV a b` sets one variable to everything that follows. Somebody who adds a second pair to the line
makes it a part of the first one's value.

**Incorrect (blanks between name and value):**

```dockerfile
FROM alpine
ENV GREETING hello out there
LABEL version 1.0
```

**Correct (an equals sign):**

```dockerfile
FROM alpine
ENV GREETING="hello out there"
LABEL version=1.0
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.dockerfile.instructions.commands import EnvCommand, KeyValue, LabelCommand
from lamina.dockerfile.words import split_words
from lamina.source import Span


def check(project: Project) -> Iterator[Finding]:
    escape = project.dockerfile.syntax.escape
    for step in project.evaluation.steps:
        command = step.written
        if not isinstance(command, EnvCommand | LabelCommand):
            continue
        for pair in command.env if isinstance(command, EnvCommand) else command.labels:
            if pair.legacy:
                name = command.keyword
                yield Finding(
                    rule="LegacyKeyValueFormat",
                    span=command.span,
                    message=(
                        f'"{name} key=value" should be used instead of legacy "{name} key value" '
                        "format"
                    ),
                    fix=None if step.trigger else _fix(command, pair, escape),
                )


def _fix(command: EnvCommand | LabelCommand, pair: KeyValue, escape: str) -> Fix | None:
    """The same value as one word."""
    text = command.span.text.rstrip()
    name = re.escape(pair.key)
    found = re.match(rf"{re.escape(command.keyword)}[ \t]+{name}(?P<blanks>[ \t]+)", text)
    if found is None or text.endswith(escape) or "=" in pair.key:
        return None
    if re.match(rf"{re.escape(escape)}[ \t]*\r?\n", text[found.end() :]):
        return None  # the value starts in the next line, behind blanks that are not part of it
    start = command.span.start
    gap = Span(command.span.file, start + found.start("blanks"), start + found.end())
    if split_words(pair.value, escape=escape) == (pair.value,):
        return Fix(title="write an equals sign", edits=(Edit(gap, "="),))
    if any(letter in pair.value for letter in ("'", '"', escape)):
        return None
    end = Span(command.span.file, start + len(text), start + len(text))
    return Fix(title="write an equals sign, and quotes", edits=(Edit(gap, '="'), Edit(end, '"')))
