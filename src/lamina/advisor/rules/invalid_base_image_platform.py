"""---
name: InvalidBaseImagePlatform
title: Base image platform does not match expected target platform
impact: HIGH
impactDescription: its programs do not run, or run in an emulator
tags: docker, platforms
skip: file
---

An image that exists for one platform only is taken whatever the build is for. Its configuration
says what it is for; of the accounts on Docker Hub that publish for one architecture, the name does.

**Incorrect (an image for another processor):**

```dockerfile
FROM --platform=linux/amd64 arm64v8/alpine AS amd64
```

**Correct (one that is there for the platform):**

```dockerfile
FROM --platform=linux/amd64 alpine AS amd64
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lamina.advisor.evaluation import From
from lamina.advisor.finding import Finding
from lamina.advisor.project import Project
from lamina.dockerfile.platforms import platform_of
from lamina.dockerfile.stages import SCRATCH
from lamina.notation.gostrings import quote
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform, normalized

_ACCOUNTS = {
    "amd64": Platform(os="linux", architecture="amd64"),
    "arm32v5": Platform(os="linux", architecture="arm", variant="v5"),
    "arm32v6": Platform(os="linux", architecture="arm", variant="v6"),
    "arm32v7": Platform(os="linux", architecture="arm", variant="v7"),
    "arm64v8": Platform(os="linux", architecture="arm64"),
    "i386": Platform(os="linux", architecture="386"),
    "ppc64le": Platform(os="linux", architecture="ppc64le"),
    "riscv64": Platform(os="linux", architecture="riscv64"),
    "s390x": Platform(os="linux", architecture="s390x"),
}
_PUBLISHED = re.compile(r"(?:(?:index\.)?docker\.io/)?(?P<account>\w+)/.*")


def check(project: Project) -> Iterator[Finding]:
    for line in project.evaluation.froms:
        wanted, found = line.wanted, _platform(line)
        if line.base.text == SCRATCH or wanted is None or found is None:
            continue
        if project.asked is None and line.platform is None:
            continue  # nobody says what the build is for
        if (wanted.os, wanted.architecture) != (found.os, found.architecture):
            yield Finding(
                rule="InvalidBaseImagePlatform",
                span=line.stage.span,
                message=(
                    f"Base image {line.base.text} was pulled with platform "
                    f"{quote(str(normalized(found)))}, expected {quote(str(normalized(wanted)))} "
                    "for current build"
                ),
            )


def _platform(line: From) -> Platform | None:
    """What the base is for, as far as that is known."""
    if line.config is not None:
        return None if _is_empty(line.config) else platform_of(line.config)
    found = _PUBLISHED.fullmatch(line.base.text)
    return _ACCOUNTS.get(found["account"]) if found is not None else None


def _is_empty(config: ImageConfig) -> bool:
    """Whether there are no files in the image, and so none for a wrong platform."""
    return not config.rootfs.diff_ids and all(one.empty_layer for one in config.history or ())
