"""The calls of builders in all files of a project that make some."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from lamina.advisor.project import Project
from lamina.advisor.workflows.bake import read_bake
from lamina.advisor.workflows.calls import BuildCall, same_file
from lamina.advisor.workflows.compose import read_compose
from lamina.advisor.workflows.github import read_github
from lamina.advisor.workflows.gitlab import read_gitlab
from lamina.source import SourceFile

_REMEMBERED = 64
_BAKE = re.compile(r"docker-bake(?:\..+)?\.(?:hcl|json)")


def calls_of(project: Project) -> Iterator[BuildCall]:
    """Those that build the project's Dockerfile, for all that is known."""
    own = project.dockerfile.source.name
    for source in project.sources.workflows:
        for call in read_workflow(source):
            if any(same_file(path, own) for path in call.dockerfiles):
                yield call


@lru_cache(_REMEMBERED)
def read_workflow(source: SourceFile) -> tuple[BuildCall, ...]:
    """The calls in one file."""
    name = source.name.rpartition("/")[2]
    if ".github/workflows/" in source.name:
        return tuple(read_github(source))
    if name.startswith(".gitlab-ci"):
        return tuple(read_gitlab(source))
    if _BAKE.fullmatch(name):
        return tuple(read_bake(source))
    return tuple(read_compose(source))
