"""---
title: Copy What Is Needed From a Stage
impact: MEDIUM-HIGH
impactDescription: layers that stay the same are shared and stay cached
tags: copying, multi-stage
---

## Copy What Is Needed From a Stage

`COPY --from=build / /` takes a whole system into one layer: the distribution below it is stored,
pushed and pulled again with every change of anything, and tools and caches of the build come along.
Copy what the program needs, on a base image that others share.

A stage that starts from nothing, and collects files for this purpose, may be copied as a whole.

**Incorrect (a distribution in a layer of its own):**

```dockerfile
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates
COPY app /usr/local/bin/app

FROM scratch
COPY --from=build / /
CMD ["app"]
```

```files
app 100
```

**Correct (what is needed):**

```dockerfile
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates
COPY app /usr/local/bin/app

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs /etc/ssl/certs
COPY --from=build /usr/local/bin/app /usr/local/bin/app
CMD ["app"]
```

```files
app 100
```

Reference: [Multi-stage builds](https://docs.docker.com/build/building/multi-stage/)
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.bases import Family
from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.advisor.stagestate import walk
from lamina.dockerfile.instructions.commands import CopyCommand

RULE = "copy-whole-filesystem"
_SYSTEMS = (Family.DEBIAN, Family.ALPINE, Family.REDHAT)


def check(project: Project) -> Iterator[Finding]:
    """COPYs of the root of a stage that stands on a distribution."""
    families = {place.stage.name: place.state.family for place in walk(project) if place.stage.name}
    for place in walk(project):
        command = place.command
        if not isinstance(command, CopyCommand) or command.exclude or command.parents:
            continue
        whole = any(source in ("/", "/*", "/.") for source in command.sources)
        if whole and families.get(command.from_.lower()) in _SYSTEMS:
            yield Finding(
                rule=RULE,
                span=command.span,
                message=(
                    f"all of {command.from_}, its distribution included, becomes one layer: copy"
                    " what is needed"
                ),
            )
