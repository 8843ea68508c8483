"""---
name: SecretsUsedInArgOrEnv
title: Sensitive data should not be used in the ARG or ENV commands
impact: CRITICAL
impactDescription: everybody who has the image can read it
tags: docker, secrets
url: https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/
---

The value of an ENV is in the image's configuration, that of an ARG in its history. A secret mount
shows a secret to one RUN, and leaves nothing behind.

**Incorrect (a token in the history of the image):**

```dockerfile
FROM alpine
ARG REGISTRY_TOKEN
RUN fetch --token "$REGISTRY_TOKEN"
```

**Correct (a mount that is gone when the step ends):**

```dockerfile
FROM alpine
RUN --mount=type=secret,id=registry,env=REGISTRY fetch --token "$REGISTRY"
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.dockerfile.instructions.commands import ArgCommand, EnvCommand
from lamina.notation.gostrings import quote


def _among(*words: str) -> re.Pattern[str]:
    """One of the words, set off by underscores."""
    return re.compile(rf"(?:_|^)(?:{'|'.join(words)})(?:_|$)", re.IGNORECASE | re.ASCII)


_SECRET = _among(
    *("apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd"),
    *("secret", "token"),
)
_HARMLESS = _among("public", "file", "version")


def check(project: Project) -> Iterator[Finding]:
    for step in project.evaluation.steps:
        match step.command:
            case EnvCommand(env=pairs):
                instruction, names = "ENV", [pair.key for pair in pairs]
            case ArgCommand(args=args):
                instruction, names = "ARG", [arg.key for arg in args]
            case _:
                continue
        for name in names:
            if _SECRET.search(name) and not _HARMLESS.search(name):
                yield Finding(
                    rule="SecretsUsedInArgOrEnv",
                    span=step.command.span,
                    message=(
                        "Do not use ARG or ENV instructions for sensitive data "
                        f"({instruction} {quote(name)})"
                    ),
                )
