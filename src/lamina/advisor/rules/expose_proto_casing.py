"""---
name: ExposeProtoCasing
title: Protocol in EXPOSE instruction should be lowercase
impact: LOW
impactDescription: one protocol in two spellings reads like two
tags: docker, style
url: https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/
---

Builders write the protocol into the image in lower case, whatever the Dockerfile says.

**Incorrect (capitals in the protocol):**

```dockerfile
FROM alpine
EXPOSE 80/TCP 53/Udp
```

**Correct (small letters):**

```dockerfile
FROM alpine
EXPOSE 80/tcp 53/udp
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.wording import words
from lamina.dockerfile.instructions.commands import ExposeCommand
from lamina.dockerfile.ports import parse_ports, split_port
from lamina.errors import UserError


def check(project: Project) -> Iterator[Finding]:
    dockerfile = project.dockerfile
    for step in project.evaluation.steps:
        command = step.command
        if not isinstance(command, ExposeCommand):
            continue
        for port in command.ports:
            try:
                parse_ports((port,))
            except UserError:
                break  # the build ends here
            protocol = split_port(port)[2].partition("/")[2]
            if protocol == protocol.lower():
                continue
            spans = () if step.trigger else words(dockerfile, dockerfile.node(step.written))
            edits = tuple(Edit(span, port.lower()) for span in spans if span.text == port)
            yield Finding(
                rule="ExposeProtoCasing",
                span=command.span,
                message=f"Defined protocol '{port}' in EXPOSE instruction should be lowercase",
                fix=Fix(title="write it in lower case", edits=edits) if edits else None,
            )
