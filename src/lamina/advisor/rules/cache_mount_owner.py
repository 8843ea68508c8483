r"""---
title: Give a cache mount to the user that writes to it
impact: HIGH
impactDescription: the tool cannot write to its cache: it fails, or works without
tags: dep, cache-mount, user
---

A new cache mount belongs to root, and only root can write to it. A step of another user finds a
folder that it can read at most: npm fails, pip warns and downloads everything. `uid` and `gid`
of the mount make it that user's.

**Incorrect (root's mount, another user's step):**

```dockerfile
FROM node:22-slim
USER node
WORKDIR /home/node/app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/home/node/.npm \
    npm ci
```

**Correct (the mount belongs to the user):**

```dockerfile
FROM node:22-slim
USER node
WORKDIR /home/node/app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/home/node/.npm,uid=1000,gid=1000 \
    npm ci
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.folders import misplaced
from lamina.advisor.mounts import Mounted, mounts_of, owns, with_option
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, walk
from lamina.advisor.tools.recognition import calls


def check(project: Project) -> Iterator[Finding]:
    for place in walk(project):
        if place.run is None or any(call.elevated for call in calls(place.run, place.state)):
            continue
        moved = [wrong.mount.span for wrong in misplaced(project, place)]
        for mount in mounts_of(project.dockerfile, place):
            if mount.span in moved:
                continue  # first things first
            own = mount.is_cache and not mount.flag.read_only and not mount.flag.from_
            if own and owns(mount, place.state) is False:
                edit = _edit(place, mount)
                yield Finding(
                    rule="cache-mount-owner",
                    span=mount.span,
                    message=f"user {place.state.user} cannot write to the mount at {mount.target}",
                    fix=Fix(title="make it the user's", edits=(edit,)) if edit else None,
                )


def _edit(place: Place, mount: Mounted) -> Edit | None:
    account = place.state.account
    if account.uid is None:
        return None
    edit = with_option(mount, "uid", str(account.uid))
    if account.gid is None or mount.flag.gid is not None:
        return edit
    return Edit(edit.span, f"{edit.text},gid={account.gid}")
