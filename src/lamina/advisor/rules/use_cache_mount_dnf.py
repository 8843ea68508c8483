r"""---
title: Use a cache mount for dnf
impact: MEDIUM-HIGH
impactDescription: metadata and packages are downloaded once, not on every change of the list
tags: dep, cache-mount, dnf, yum, fedora, redhat
---

dnf downloads tens of megabytes of metadata before the first package. In a cache mount both
survive the build, if dnf is told to keep packages. Its locks are files with the number of a
process, which means nothing in another container, so the mount is `locked`.

**Incorrect (downloads everything again):**

```dockerfile
FROM rockylinux:9
RUN dnf install -y gcc make && dnf clean all
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM rockylinux:9
RUN --mount=type=cache,target=/var/cache/dnf,sharing=locked \
    dnf install --setopt=keepcache=1 -y gcc make
```

dnf 5, of Fedora 41 and later, has `/var/cache/libdnf5`; the yum of CentOS 7 has
`/var/cache/yum`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lamina.advisor.editing import add_word
from lamina.advisor.finding import Edit, Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place
from lamina.advisor.tools.recognition import Use
from lamina.advisor.tools.system import DNF, dnf_on

_KEEP = "--setopt=keepcache=1"


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(
        project,
        DNF,
        rule="use-cache-mount-dnf",
        more=_keep_packages,
        on=lambda state: dnf_on(state.base),
    )


def _keep_packages(place: Place, uses: Sequence[Use]) -> Iterator[Edit]:
    for use in uses:
        verb = next(word for word in use.call.words[1:] if word.value == use.verb[0])
        if place.run is None or "keepcache" in place.run.text or use.verb == ("makecache",):
            continue
        edit = add_word(place.run, verb, _KEEP)
        if edit is not None:
            yield edit
