"""Cache mounts by the tools they are meant for, and whether those use them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from lamina.advisor.mounts import Mounted, Need, covered, mounts_of, related, within
from lamina.advisor.needs import configured, needed
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place
from lamina.advisor.tools.javascript import YARN
from lamina.advisor.tools.recognition import calls, uses
from lamina.advisor.tools.system import DNF
from lamina.advisor.tools.table import LANGUAGES, TOOLS
from lamina.advisor.tools.tool import Tool
from lamina.advisor.yarn import later_yarn

_HOMES = ("/root/", "/home/", "/usr/local/share/")
# Programs that may call any other.
_OPAQUE = frozenset(
    """
    make sh bash dash zsh npx tox nox just task ninja cmake xargs find python python3 node ruby
    perl php su gosu su-exec runuser bundle rake ./configure
    """.split()  # noqa: SIM905 - a list of so many quoted names cannot be read
)


class Misplaced(msgspec.Struct, frozen=True, kw_only=True):
    """A cache mount that nothing in its RUN uses, and the folder that was meant."""

    mount: Mounted
    tool: Tool
    needs: tuple[Need, ...]


def misplaced(project: Project, place: Place) -> Iterator[Misplaced]:
    """The mounts of a RUN at folders of tools that are not where these look."""
    if place.run is None or not place.run.whole:
        return
    mounts = mounts_of(project.dockerfile, place)
    if not any(mount.is_cache for mount in mounts) or any(m.target is None for m in mounts):
        return
    wanted = _wanted(project, place)
    if wanted is None:
        return
    opaque = any(_opaque(call.words[0].value or "") for call in calls(place.run, place.state))
    for mount in mounts:
        meant = _meant(mount)
        if not mount.is_cache or meant is None or _used(mount, wanted):
            continue
        for tool, needs in wanted:
            left = tuple(n for n in needs if not n.extra and not covered(n, mounts))
            same = tool is meant or (_together(tool, meant) and not opaque)
            if left and same:
                yield Misplaced(mount=mount, tool=tool, needs=left)
                break


def caches_of(project: Project, place: Place) -> Iterator[tuple[Mounted, Tool, Need]]:
    """Every cache mount of a RUN that a call in it uses, with the tool and what it needs."""
    for mount in mounts_of(project.dockerfile, place):
        for tool, needs in _wanted(project, place) or ():
            for need in needs:
                folders = (need.folder, *need.also)
                target = mount.target
                if mount.is_cache and target and any(related(target, f) for f in folders):
                    yield mount, tool, need


def _wanted(project: Project, place: Place) -> Sequence[tuple[Tool, tuple[Need, ...]]] | None:
    """What the calls of a RUN need, by tool; None where that is not known."""
    if place.run is None:
        return None
    found = tuple(uses(place.run, place.state, TOOLS))
    wanted = []
    for tool in dict.fromkeys(use.tool.name for use in found):
        own = tuple(use for use in found if use.tool.name == tool)
        needs = needed(place, own)
        if not needs or configured(project, own[0].tool):
            return None
        if own[0].tool is YARN and later_yarn(project):
            return None
        wanted.append((own[0].tool, needs))
    return wanted


def _used(mount: Mounted, wanted: Sequence[tuple[Tool, tuple[Need, ...]]]) -> bool:
    return any(
        related(mount.target or "/", folder)
        for _, needs in wanted
        for need in needs
        for folder in (need.folder, *need.also)
    )


def _meant(mount: Mounted) -> Tool | None:
    """The tool whose folder this is, for some user or other."""
    for tool in TOOLS:
        templates = (template for cache in tool.caches for template in cache.folders)
        if tool is not DNF and any(_fits(mount.target or "", each) for each in templates):
            return tool
    return None


def _fits(path: str, template: str) -> bool:
    """Whether a path is what a template gives, whatever HOME and variables are."""
    mark, _, tail = template.partition("/")
    if not mark:
        return within(path, template)
    below = path.endswith("/" + tail)
    return bool(tail) and below and ("/" in tail or (mark == "~" and path.startswith(_HOMES)))


def _together(one: Tool, other: Tool) -> bool:
    return any(one in language and other in language for language in LANGUAGES)


def _opaque(program: str) -> bool:
    return program.startswith("./") or program.rpartition("/")[2] in _OPAQUE
