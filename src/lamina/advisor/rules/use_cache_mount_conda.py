r"""---
title: Use a cache mount for conda
impact: MEDIUM
impactDescription: packages are downloaded once, not on every change of the environment
tags: dep, cache-mount, conda, python
---

conda keeps archives and their contents in `pkgs` of its installation. A cache mount there
spares the downloads. The base image keeps its own packages in that folder, which the mount
hides, so the fix is made only on request.

**Incorrect (downloads everything again):**

```dockerfile
FROM continuumio/miniconda3
COPY environment.yml .
RUN conda env create -f environment.yml && conda clean --all --yes
```

**Correct (what did not change comes out of the mount):**

```dockerfile
FROM continuumio/miniconda3
COPY environment.yml .
RUN --mount=type=cache,target=/opt/conda/pkgs,sharing=locked \
    conda env create -f environment.yml
```
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.finding import Finding
from lamina.advisor.missing_mounts import missing_mounts
from lamina.advisor.project import Project
from lamina.advisor.tools.python import CONDA


def check(project: Project) -> Iterator[Finding]:
    yield from missing_mounts(project, CONDA, rule="use-cache-mount-conda")
