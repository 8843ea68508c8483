"""apt and the two folders that it fills.

`/var/cache/apt` holds packages, `/var/lib/apt` the lists of what there is; beside the lists apt
notes which packages came along with others. Where a file asks for those notes (`apt-mark`,
`autoremove`), the lists alone are mounted: a mount's notes would be those of other images.

Images of Debian and Ubuntu delete packages after every install, by a file that has to go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from lamina.advisor.bases import Family
from lamina.advisor.cleaning import cleaning, taken_out
from lamina.advisor.editing import add_flags, insert_above
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.missing_mounts import Missing, finding, private
from lamina.advisor.mounts import Need, covered, mounts_of, within
from lamina.advisor.needs import needed
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, lineage, walk
from lamina.advisor.tools.recognition import Use, uses
from lamina.advisor.tools.system import APT
from lamina.dockerfile.instructions.commands import AddCommand, CopyCommand

PACKAGES, LISTS = "/var/cache/apt", "/var/lib/apt"
_MARKS = re.compile(r"\bapt-mark\b|\bautoremove\b|--auto-?remove\b|\bautopurge\b|extended_states")
_DOCKER_CLEAN = "docker-clean"
_UNCLEAN = """\
# Images of Debian and Ubuntu delete every package once it is installed:
# without this, the cache mounts below would stay empty.
RUN rm -f /etc/apt/apt.conf.d/docker-clean; {escape}
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache

"""


def missing_apt_mounts(project: Project, *, rule: str) -> Iterator[Finding]:
    """A finding for every RUN that installs with apt and keeps nothing of it."""
    unclean: set[int] = set()
    for place in walk(project):
        one = _missing(project, place)
        if one is None:
            continue
        fix = _fix(project, one)
        kept = packages_kept(project, place) or any(
            number in unclean for number in lineage(project, place.number)
        )
        if fix is not None and not kept:
            more = keep_packages(project, place)
            fix = replace(fix, edits=(more, *fix.edits)) if more is not None else None
            unclean |= {place.number} if more is not None else set()
        yield finding(one, APT, rule, fix)


def installs(place: Place) -> tuple[Use, ...]:
    """The calls of apt that install something."""
    if place.run is None or place.state.family not in (None, Family.DEBIAN):
        return ()
    found = uses(place.run, place.state, (APT,))
    return tuple(use for use in found if use.verb != ("update",))


def packages_kept(project: Project, place: Place) -> bool:
    """Whether the file says anything about `docker-clean` up to here, in this very RUN included."""
    below = lineage(project, place.number)
    for other in walk(project):
        if other.number not in below or (other.number, other.index) > (place.number, place.index):
            continue
        if other.run is not None and _DOCKER_CLEAN in other.run.text:
            return True
        if isinstance(other.command, CopyCommand | AddCommand):
            dest = other.state.expand(other.command.dest)
            path = other.state.path(dest) if dest is not None else None
            if path is None or within(path, "/etc/apt"):
                return True
    return False


def keep_packages(project: Project, place: Place) -> Edit | None:
    """Puts a RUN above one that lets apt keep its packages; None where root does not run it."""
    if place.run is None or not place.state.root or not place.state.posix:
        return None
    text = _UNCLEAN.format(escape=project.dockerfile.syntax.escape)
    return insert_above(project.dockerfile, place.run.node, text)


def _missing(project: Project, place: Place) -> Missing | None:
    found = installs(place)
    if place.run is None or not place.run.whole or not found:
        return None
    packages, lists = needed(place, found)
    if _needs_marks(project):
        lists = replace(lists, folder=f"{LISTS}/lists")
    mounts = mounts_of(project.dockerfile, place)
    wanted = (packages, lists) if _updates(place) and not _lists_needed(project, place) else ()
    left = [need for need in wanted or (packages,) if not covered(need, mounts)]
    if not left or not all(private(project, need.folder, APT) for need in left):
        return None
    return Missing(place=place, uses=found, needs=tuple(left))


def _fix(project: Project, one: Missing) -> Fix | None:
    run = one.place.run
    assert run is not None
    folders = [need.folder for need in one.needs]
    taken = taken_out(run, one.place.state, cleaning(run, one.place.state, APT, folders))
    if taken is None:
        return None
    flags = [flag for need in one.needs if (flag := need.flag()) is not None]
    return Fix(
        title="keep apt's lists and packages in cache mounts",
        edits=(add_flags(project.dockerfile, run.node, flags), *taken.edits),
        safe=taken.safe,
    )


def _updates(place: Place) -> bool:
    """Whether a RUN fetches the lists itself, before it installs."""
    if place.run is None:
        return False
    verbs = [use.verb for use in uses(place.run, place.state, (APT,))]
    return bool(verbs) and verbs[0] == ("update",)


def _lists_needed(project: Project, place: Place) -> bool:
    """Whether a later RUN installs from the lists that this one leaves in its layer."""
    for other in walk(project):
        later = (other.number, other.index) > (place.number, place.index)
        if later and place.number in lineage(project, other.number):
            if _updates(other):
                continue
            if installs(other) and not _has_lists(project, other):
                return True
    return False


def _has_lists(project: Project, place: Place) -> bool:
    need = Need(folder=LISTS, also=(f"{LISTS}/lists",))
    return covered(need, mounts_of(project.dockerfile, place))


def _needs_marks(project: Project) -> bool:
    scripts: Sequence[str] = [p.run.text for p in walk(project) if p.run is not None]
    return any(_MARKS.search(text) for text in scripts)
