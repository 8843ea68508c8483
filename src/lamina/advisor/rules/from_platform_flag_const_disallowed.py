"""---
name: FromPlatformFlagConstDisallowed
title: FROM --platform flag should not use a constant value
impact: MEDIUM
impactDescription: the image cannot be built for another platform
tags: docker, platforms
url: https://docs.docker.com/go/dockerfile/rule/from-platform-flag-const-disallowed/
---

Which platform an image is for is the choice of whoever builds it (`--platform`). A stage that runs
on the building machine says `--platform=$BUILDPLATFORM`. A stage that exists for one platform is
best told by its name: one with `amd64` or `linux` in it is not reported.

**Incorrect (one platform, for everybody):**

```dockerfile
FROM --platform=linux/amd64 alpine
```

**Correct (whatever is built for):**

```dockerfile
FROM alpine
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.editing import flag_spans, remove_flag
from lamina.advisor.finding import Finding, Fix
from lamina.advisor.project import Project
from lamina.errors import UserError
from lamina.notation.gostrings import quote
from lamina.oci.platform import Platform, parse_platform

_HOST = Platform(os="linux", architecture="amd64")


def check(project: Project) -> Iterator[Finding]:
    dockerfile = project.dockerfile
    host = project.asked.build_platform if project.asked is not None else _HOST
    for line in project.evaluation.froms:
        found = line.platform
        if found is None or found.matched or found.unmatched:
            continue
        try:
            platform = parse_platform(found.text, host=host)
        except UserError:
            continue  # which is an error, and not a matter of style
        if platform.os in line.stage.name or platform.architecture in line.stage.name:
            continue
        node = dockerfile.node(line.stage)
        flags = flag_spans(dockerfile, node)
        fix = None
        if len(flags) == 1:
            edit = remove_flag(dockerfile, node, flags[0])
            fix = Fix(title="remove the flag", edits=(edit,), safe=False)
        yield Finding(
            rule="FromPlatformFlagConstDisallowed",
            span=line.stage.span,
            message=f"FROM --platform flag should not use constant value {quote(found.text)}",
            fix=fix,
        )
