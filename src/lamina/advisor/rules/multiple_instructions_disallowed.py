"""---
name: MultipleInstructionsDisallowed
title: Multiple instructions of the same type should not be used in the same stage
impact: MEDIUM
impactDescription: all but the last one have no effect
tags: docker, runtime
url: https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/
---

An image has one CMD, one ENTRYPOINT and one HEALTHCHECK. Each further one replaces that before it.

**Incorrect (the first has no effect):**

```dockerfile
FROM nginx
CMD ["nginx", "-t"]
CMD ["nginx", "-g", "daemon off;"]
```

**Correct (the one that counts):**

```dockerfile
FROM nginx
CMD ["nginx", "-g", "daemon off;"]
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.evaluation import Step
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.dockerfile.instructions.commands import (
    CmdCommand,
    EntrypointCommand,
    HealthCheckCommand,
)

_ONCE = (CmdCommand, EntrypointCommand, HealthCheckCommand)


def check(project: Project) -> Iterator[Finding]:
    before: dict[tuple[int, type], Step] = {}
    for step in project.evaluation.steps:
        if not isinstance(step.written, _ONCE):
            continue
        key = (step.stage.span.start, type(step.written))
        earlier = before.get(key)
        if earlier is not None:
            yield Finding(
                rule="MultipleInstructionsDisallowed",
                span=earlier.written.span,
                message=(
                    f"Multiple {step.written.keyword} instructions should not be used in the same "
                    "stage because only the last one will be used"
                ),
                fix=_fix(project, earlier),
                judge=step.written.span,
            )
        before[key] = step


def _fix(project: Project, step: Step) -> Fix | None:
    """Unsafe: the history of the image tells of every instruction."""
    if step.trigger:
        return None
    span = project.dockerfile.node(step.written).span
    return Fix(title="remove it", edits=(Edit(span, ""),), safe=False)
