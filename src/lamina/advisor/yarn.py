"""Which yarn a project means: version 1, or a later one."""

from __future__ import annotations

import re

from lamina.advisor.project import Project

_LATER = re.compile(r"\.yarnrc\.yml|\.yarn\b|\bcorepack\b|--immutable\b|set version|\bberry\b")
_FILES = (b".yarnrc.yml", b".pnp.cjs")


def later_yarn(project: Project) -> bool:
    """Whether anything speaks of a version above 1, which may run programs from its cache."""
    kept = project.context.kept if project.context is not None else ()
    named = any(one.path.rpartition(b"/")[2] in _FILES for one in kept)
    return named or _LATER.search(project.dockerfile.source.text) is not None
