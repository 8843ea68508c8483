"""---
name: ExposeInvalidFormat
title: IP address and host-port mapping should not be used in EXPOSE instruction. This will become
  an error in a future release
impact: MEDIUM
impactDescription: the address and the port of the host have no effect
tags: docker, syntax
url: https://docs.docker.com/go/dockerfile/rule/expose-invalid-format/
---

EXPOSE names ports of the container. Where they are published on a machine is said when a container
is started (`-p`); an address or a port of the host is dropped here without a word.

**Incorrect (ports of the host):**

```dockerfile
FROM alpine
EXPOSE 127.0.0.1:80:8080 5000:5001/udp
```

**Correct (ports of the container):**

```dockerfile
FROM alpine
EXPOSE 8080 5001/udp
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
            address, host, container = split_port(port)
            if address or host:
                spans = () if step.trigger else words(dockerfile, dockerfile.node(step.written))
                edits = tuple(Edit(span, container) for span in spans if span.text == port)
                yield Finding(
                    rule="ExposeInvalidFormat",
                    span=command.span,
                    message=(
                        "EXPOSE instruction should not define an IP address or host-port mapping, "
                        f"found '{port}'"
                    ),
                    fix=Fix(title="name the container's port", edits=edits) if edits else None,
                )
            try:
                parse_ports((port,))
            except UserError:
                break  # the build ends here
