"""---
title: Update the Package Index in the Step That Installs
impact: MEDIUM-HIGH
impactDescription: installs no longer fail, or come out old, from an index of long ago
tags: layer-order, apt, debian, ubuntu
---

## Update the Package Index in the Step That Installs

`RUN apt-get update` in a layer of its own is cached for as long as its text stays the same. The
next package that is added to the install below is then looked for in an index of months ago: it is
not found, or an old version of it is installed. Joined with `&&`, both run together or not at all.

**Incorrect (the index stays that of the first build):**

```dockerfile
FROM debian:bookworm-slim
RUN apt-get update
RUN apt-get install -y --no-install-recommends \\
        curl \\
    && rm -rf /var/lib/apt/lists/*
```

**Correct (index and packages are of one time):**

```dockerfile
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \\
        curl \\
    && rm -rf /var/lib/apt/lists/*
```

Reference: [Building best practices: apt-get](https://docs.docker.com/build/building/best-practices/#apt-get)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lamina.advisor.editing import remove_instruction
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, walk
from lamina.advisor.tools.recognition import calls

RULE = "update-in-layer-of-its-own"
_APT = ("apt-get", "apt")


def check(project: Project) -> Iterator[Finding]:
    """RUNs that do nothing but update the index, above one that installs from it."""
    places = walk(project)
    for number, place in enumerate(places):
        if _verbs(place) == ["update"] and place.run is not None and len(place.run.steps) == 1:
            below = [other for other in places[number + 1 :] if other.number == place.number]
            install = _install(below)
            if install is not None:
                yield Finding(
                    rule=RULE,
                    span=place.command.span,
                    message=(
                        "the package index stays that of the first build, while the install on line"
                        f" {install.command.span.line} changes: update where it is used"
                    ),
                    fix=_fix(project, place, install),
                )


def _install(below: Sequence[Place]) -> Place | None:
    """The first RUN that installs, unless it updates by itself."""
    for place in below:
        verbs = _verbs(place)
        if verbs:
            return place if "update" not in verbs and "install" in verbs else None
    return None


def _verbs(place: Place) -> list[str]:
    """What a RUN asks apt to do; nothing where it has mounts of its own."""
    run = place.run
    if run is None or run.command.mount_options or not run.whole or run.script is None:
        return []
    valued = ("-o", "-t", "-c", "--option", "--target-release")
    return [
        call.arguments(valued)[0]
        for call in calls(run, place.state)
        if call.program in _APT and call.arguments(valued)
    ]


def _fix(project: Project, update: Place, install: Place) -> Fix | None:
    run, node = install.run, project.dockerfile.node(update.command)
    if run is None or run.node.heredocs or update.run is None or update.run.node.heredocs:
        return None
    first = run.steps[0]
    if not first.invocations or first.invocations[0].name not in _APT:
        return None
    command = update.run.text[update.run.steps[0].start : update.run.steps[0].end]
    comments = bool(update.command.comments)
    return Fix(
        title="update in the RUN that installs",
        edits=(
            Edit(node.span, "") if comments else remove_instruction(project.dockerfile, node),
            Edit(run.span(first.start, first.start), f"{command} && "),
        ),
    )
