"""The cache mounts that calls of tools should have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lamina.advisor.mounts import Need, owner
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, walk
from lamina.advisor.tools.recognition import Use, folder
from lamina.advisor.tools.tool import Locking, Tool


def needed(place: Place, found: Sequence[Use]) -> tuple[Need, ...]:
    """The mounts that these calls should have; none at all where a folder is not known."""
    needs: dict[str, Need] = {}
    for use in found:
        for cache in use.tool.caches:
            path = folder(cache, use.call, place.state)
            if path is None and not cache.extra:
                return ()
            if path is None or path in needs:
                continue
            also = (folder_of for folder_of in _also(cache.also, place))
            ids = owner(place.state) if not use.call.elevated else (None, None)
            needs[path] = Need(
                folder=path,
                also=tuple(also),
                locked=cache.locking is Locking.ALWAYS,
                extra=cache.extra,
                uid=ids[0] if ids else None,
                gid=ids[1] if ids else None,
            )
    return tuple(needs.values())


def _also(templates: Iterable[str], place: Place) -> Iterator[str]:
    for template in templates:
        if not template.startswith("~"):
            yield template
        elif place.state.home is not None:
            yield place.state.home + template[1:]


def configured(project: Project, tool: Tool) -> bool:
    """Whether a script moves the tool's folders, in a way that is not followed here."""
    names = "|".join(re.escape(name) for name in tool.programs)
    moves = re.compile(
        rf"\b(?:{names})\b[^\n;&]*\b(?:config|env\s+-w)\b[^\n;&]*(?i:cache|store|path)"
    )
    return any(place.run is not None and moves.search(place.run.text) for place in walk(project))
