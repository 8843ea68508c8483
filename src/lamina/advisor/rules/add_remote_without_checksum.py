"""---
title: Give Remote Files a Checksum
impact: MEDIUM
impactDescription: a file that was exchanged fails the build instead of entering the image
tags: copying, security
---

## Give Remote Files a Checksum

`ADD` of an address takes whatever lies there today. With `--checksum` the build fails where it is
not what it was, and a builder that has the file need not ask for it again.

**Incorrect (anything is accepted):**

```dockerfile
FROM debian:bookworm-slim
ADD https://example.com/tool-1.2.tar.gz /tmp/tool.tar.gz
```

**Correct (this file and no other):**

```dockerfile
FROM debian:bookworm-slim
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d \\
    https://example.com/tool-1.2.tar.gz /tmp/tool.tar.gz
```

Reference: [Dockerfile reference: ADD --checksum](https://docs.docker.com/reference/dockerfile/#add---checksum)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.advisor.stagestate import walk
from lamina.dockerfile.instructions.commands import AddCommand

RULE = "add-remote-without-checksum"
_FILE = re.compile(r"https?://(?!.*\.git(?:$|[#?@]))(?!github\.com/[^/]+/[^/]+/?(?:#.*)?$).+")


def check(project: Project) -> Iterator[Finding]:
    """ADDs of addresses, repositories of git aside, that say nothing of the content."""
    for place in walk(project):
        command = place.command
        if not isinstance(command, AddCommand) or command.checksum:
            continue
        if any(_FILE.fullmatch(source) for source in command.sources):
            yield Finding(
                rule=RULE,
                span=command.span,
                message="whatever lies there gets into the image: add --checksum=sha256:…",
            )
