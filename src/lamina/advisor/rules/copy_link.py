"""---
title: Link Files of Other Stages Into the Image
impact: LOW
impactDescription: copied files keep their layer when the steps above them change
tags: copying, multi-stage
---

## Link Files of Other Stages Into the Image

With `--link`, files from another stage are a layer of their own, which does not hang on what stands
above: a new base image or another package leaves it as it is, in the cache and in the registry.

Only shown where it makes no difference for the image: the destination is absolute, in a folder
that base images do not link elsewhere, and no command above has to do with it.

**Incorrect (copied again whenever the packages change):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
COPY . .
RUN go build -o /out/app .

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates
COPY --from=build /out/app /usr/local/bin/app
CMD ["app"]
```

```files
main.go 20
```

**Correct (a layer of its own):**

```dockerfile
FROM golang:1.24 AS build
WORKDIR /src
COPY . .
RUN go build -o /out/app .

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates
COPY --link --from=build /out/app /usr/local/bin/app
CMD ["app"]
```

```files
main.go 20
```

Reference: [Dockerfile reference: COPY --link](https://docs.docker.com/reference/dockerfile/#copy---link)
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from lamina.advisor.bases import Family
from lamina.advisor.editing import flag_spans
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, lineage, walk
from lamina.advisor.volatile import asks_for_nothing
from lamina.dockerfile.instructions.commands import CopyCommand, VolumeCommand, WorkdirCommand
from lamina.source import Span

RULE = "copy-link"
_FOLDERS = re.compile(
    r"/(?:app|opt|srv|usr/local/(?:bin|lib|share|sbin)|usr/share/nginx/html)(?:/.*)?"
)
_NUMBERS = re.compile(r"\d+(?::\d+)?")
_KNOWN = (Family.DEBIAN, Family.ALPINE)


def check(project: Project) -> Iterator[Finding]:
    """COPYs from stages, below a RUN of the last stage, whose destination nothing else touches."""
    last = len(project.dockerfile.stages) - 1
    names = {stage.name for stage in project.dockerfile.stages[:-1] if stage.name}
    places = (
        [place for place in walk(project) if place.number in lineage(project, last)]
        if last >= 0
        else []
    )
    for number, place in enumerate(places):
        command = place.command
        if place.number != last or not isinstance(command, CopyCommand):
            continue
        if command.link or command.from_.lower() not in names:
            continue
        if _independent(place, command, places[:number]):
            yield Finding(
                rule=RULE,
                span=command.span,
                message="--link would keep this layer when the steps above it change",
                fix=Fix(title="add --link", edits=(_linked(project, place),)),
            )


def _independent(place: Place, command: CopyCommand, above: list[Place]) -> bool:
    own = [other for other in above if other.number == place.number and other.run is not None]
    folder = posixpath.dirname(command.dest.rstrip("/")) or "/"
    return (
        bool(own)
        and place.state.family in _KNOWN
        and place.state.base.known
        and _FOLDERS.fullmatch(command.dest) is not None
        and "$" not in command.dest
        and (not command.chown or _NUMBERS.fullmatch(command.chown) is not None)
        and not any(isinstance(other.command, VolumeCommand) for other in above)
        and not any(
            isinstance(other.command, WorkdirCommand)
            and other.command.path.startswith(command.dest.rstrip("/"))
            for other in above
        )
        and all(asks_for_nothing(other, installs=False) for other in above if other.run)
        and not any(folder in other.command.span.text for other in own if folder != "/")
    )


def _linked(project: Project, place: Place) -> Edit:
    (first, *_) = flag_spans(project.dockerfile, project.dockerfile.node(place.command))
    return Edit(Span(first.file, first.start, first.start), "--link ")
