"""A broad COPY, and the installs below it that want a few files of what it brings.

    COPY . .                        COPY package.json package-lock.json .
    RUN npm ci               →      RUN npm ci
    RUN npm run build               COPY . .
                                    RUN npm run build

Between the two there may be nothing that the COPY could matter to: other installs, groundwork, and
settings. Where one RUN installs and goes on with more, it is split; where an install takes the
project itself along, the dependencies come first, and the same call again below.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

import msgspec

from lamina.advisor.editing import flag_spans, line_end
from lamina.advisor.finding import Edit, Fix
from lamina.advisor.groundwork import is_groundwork
from lamina.advisor.installs import Install, read_install
from lamina.advisor.manifests import Found, bare
from lamina.advisor.mounts import within
from lamina.advisor.project import Dockerfile, Project
from lamina.advisor.stagestate import Place, StageState, lineage, walk
from lamina.dockerfile.instructions.commands import (
    AddCommand,
    ArgCommand,
    CopyCommand,
    EnvCommand,
    OnbuildCommand,
    ShellCommand,
    VolumeCommand,
    WorkdirCommand,
)
from lamina.dockerfile.syntax import Blank, Comment
from lamina.layer.entry import Kind
from lamina.source import Span

_EVERYTHING = ("", ".", "/")
_PLAIN = re.compile(r"[\w@%+=:,./-]+")


class Broad(msgspec.Struct, frozen=True, kw_only=True):
    """A COPY of a whole folder: `folder` of the context (`backend/`, "" for its top) to `dest`,
    absolute; `word` is the destination as it is written.
    """

    place: Place
    folder: str
    dest: str
    word: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An install with its manifests; None where the project is not at hand."""

    install: Install
    found: Found | None


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """Installs below a broad COPY, up to the RUN `last`.

    `rest` is where the script of `last` goes on with more than installs, None at its end; `split`
    is false where the script cannot be cut there.
    """

    copy: Broad
    last: Place
    wanted: tuple[Wanted, ...]
    rest: int | None = None
    split: bool = True

    @property
    def obstacle(self) -> str:
        """What the installs may need of the source besides their manifests, if anything."""
        return next((one.found.obstacle for one in self.wanted if one.found is not None), "")


def late_installs(project: Project) -> Iterator[Late]:
    """Every broad COPY with installs below it that could stand above."""
    places = walk(project)
    for number, place in enumerate(places):
        copy = _broad(project, place)
        if copy is None:
            continue
        below = (other for other in places[number + 1 :] if other.number == place.number)
        late = _late(project, copy, tuple(below))
        if late is not None:
            yield late


def reordered(project: Project, late: Late) -> Fix | None:
    """The manifests first, the installs, and then the COPY; None where that cannot be done."""
    found = [one.found for one in late.wanted if one.found is not None]
    if len(found) < len(late.wanted) or late.obstacle or not late.split:
        return None
    writing = _Writing(project.dockerfile, late)
    edits = writing.edits(found)
    return (
        Fix(
            title="copy the manifests first, and the rest below the install",
            edits=edits,
            safe=all(one.certain for one in found),
        )
        if edits is not None
        else None
    )


def _broad(project: Project, place: Place) -> Broad | None:
    command = place.command
    if not isinstance(command, CopyCommand | AddCommand) or len(command.sources) != 1:
        return None
    if isinstance(command, CopyCommand) and (command.from_ or command.parents):
        return None
    if command.contents or project.dockerfile.node(command).json:
        return None
    source = posixpath.normpath(command.sources[0].lstrip("/") or ".")
    dest = place.state.expand(command.dest)
    absolute = place.state.path(dest) if dest is not None else None
    if absolute is None or not (_PLAIN.fullmatch(source)) or source.startswith(".."):
        return None
    folder = "" if source in _EVERYTHING else source + "/"
    if folder and not _is_folder(project, source):
        return None
    return Broad(place=place, folder=folder, dest=absolute, word=command.dest)


def _is_folder(project: Project, source: str) -> bool:
    kept = project.context.kept if project.context is not None else ()
    path = source.encode()
    return any(one.path == path and one.kind is Kind.DIRECTORY for one in kept)


def _late(project: Project, copy: Broad, below: tuple[Place, ...]) -> Late | None:
    wanted: list[Wanted] = []
    last: Place | None = None
    for place in below:
        if place.run is None:
            if _matters(copy, place):
                break
            continue
        steps, rest, split = _installs(project, copy, place)
        wanted += steps
        if steps:
            last = place
        if rest is not None or any(one.found and one.found.first for one in steps):
            if steps:
                return _whole(
                    project,
                    Late(copy=copy, last=place, wanted=tuple(wanted), rest=rest, split=split),
                )
            break
    if last is None:
        return None
    return _whole(project, Late(copy=copy, last=last, wanted=tuple(wanted)))


def _whole(project: Project, late: Late) -> Late | None:
    """None where the same tools have been here before the COPY."""
    earlier = {
        install.tool
        for place in walk(project)
        if place.run is not None
        and place.number in lineage(project, late.copy.place.number)
        and (place.number, place.index) < (late.copy.place.number, late.copy.place.index)
        for step in place.run.steps
        if (install := read_install(place.run, place.state, step)) is not None
    }
    return None if any(one.install.tool in earlier for one in late.wanted) else late


def _matters(copy: Broad, place: Place) -> bool:
    """Whether it makes a difference on which side of an instruction the COPY stands."""
    text = copy.place.command.original
    match place.command:
        case WorkdirCommand():
            return not copy.word.startswith("/")
        case EnvCommand():
            return any(pair.key in text for pair in place.command.env)
        case ArgCommand():
            return any(pair.key in text for pair in place.command.args)
        case CopyCommand() | AddCommand() | OnbuildCommand() | VolumeCommand() | ShellCommand():
            return True
    return False


def _installs(project: Project, copy: Broad, place: Place) -> tuple[list[Wanted], int | None, bool]:
    """The installs that a RUN starts with, where something else follows, and whether the script
    can be cut there.
    """
    run = place.run
    assert run is not None
    if not run.steps or not run.whole or not place.state.posix:
        return [], 0, False
    found: list[Wanted] = []
    for number, step in enumerate(run.steps):
        if is_groundwork(run, place.state, step):
            continue
        install = read_install(run, place.state, step)
        wanted = _wanted(project, copy, install, place.state) if install is not None else None
        if wanted is None:
            cut = step.operator == "&&" and not run.node.heredocs
            return found, step.start, cut and _after_install(run.steps[number - 1 :: -1], found)
        found.append(wanted)
        if wanted.found is not None and wanted.found.first:
            after = run.steps[number + 1 :]
            return (
                found,
                after[0].start if after else None,
                not run.node.heredocs
                and all(each.operator == "&&" for each in run.steps[1 : number + 2]),
            )
    return found, None, True


def _after_install(before: tuple[object, ...], found: list[Wanted]) -> bool:
    """Whether nothing but `&&` chains what is left above."""
    return bool(found) and all(getattr(step, "operator", "") in ("", "&&") for step in before)


def _wanted(project: Project, copy: Broad, install: Install, state: StageState) -> Wanted | None:
    """An install together with its manifests, if they come with the COPY."""
    if state.cwd is None or not within(state.cwd, copy.dest):
        return None
    if bare(project):
        return Wanted(install=install, found=None) if not copy.folder else None
    inner = posixpath.relpath(state.cwd, copy.dest)
    folder = copy.folder + ("" if inner == "." else inner + "/")
    found = install.find(project, folder)
    return Wanted(install=install, found=found) if found is not None else None


class _Writing:
    """Writes a broad COPY and what is below it anew."""

    def __init__(self, dockerfile: Dockerfile, late: Late) -> None:
        self._dockerfile = dockerfile
        self._late = late
        self._copy = dockerfile.node(late.copy.place.command)
        assert late.last.run is not None
        self._run = late.last.run
        self._file = dockerfile.source
        self._end = line_end(self._copy)

    def edits(self, found: list[Found]) -> tuple[Edit, ...] | None:
        lines = self._manifests(found)
        tail = self._tail(found)
        if lines is None or tail is None:
            return None
        start, copied = self._moved()
        last = self._run.node
        cut, more = tail
        ending = "" if last.span.text.endswith("\n") else self._end
        blank = self._end if self._followed_by_blank() else ""
        below = ending + blank + copied + more
        if not ending:
            below = below.removesuffix(self._end) + self._end
        else:
            below = below.removesuffix(self._end)
        return (
            Edit(Span(self._file, start, self._copy.span.end), lines),
            *self._flags(),
            *([cut] if cut is not None else []),
            Edit(Span(self._file, last.span.end, last.span.end), below),
        )

    def _moved(self) -> tuple[int, str]:
        """Where the COPY starts with the comments that stand on it, and all of that."""
        nodes = self._dockerfile.syntax.nodes
        index = nodes.index(self._copy)
        while index and isinstance(nodes[index - 1], Comment):
            index -= 1
        start = nodes[index].span.start
        text = self._file.text[start : self._copy.span.end]
        return start, text if text.endswith("\n") else text + self._end

    def _followed_by_blank(self) -> bool:
        nodes = self._dockerfile.syntax.nodes
        index = nodes.index(self._copy) + 1
        return index < len(nodes) and isinstance(nodes[index], Blank)

    def _manifests(self, found: list[Found]) -> str | None:
        """COPY instructions for all manifests, one for every folder that they lie in."""
        flags = "".join(
            span.text + " "
            for span in flag_spans(self._dockerfile, self._copy)
            if not span.text.startswith(("--exclude", "--checksum", "--keep-git", "--unpack"))
        )
        keyword = "copy" if self._copy.keyword.islower() else "COPY"
        by_folder: dict[str, list[str]] = {}
        for one in found:
            for path in one.files:
                group = by_folder.setdefault(path.rpartition("/")[0], [])
                group += [path] if path not in group else []
        copies = [(files, self._dest(folder)) for folder, files in by_folder.items()]
        folders = dict.fromkeys(folder for one in found for folder in one.folders)
        copies += [([folder + "/"], self._dest(folder)) for folder in folders]
        words = [word for files, dest in copies for word in (*files, dest)]
        if not all(_PLAIN.fullmatch(word) for word in words if word != self._late.copy.word):
            return None
        return "".join(
            f"{keyword} {flags}{' '.join(files)} {dest}{self._end}" for files, dest in copies
        )

    def _dest(self, folder: str) -> str:
        """The destination of what lies in a folder of the context."""
        copy = self._late.copy
        inner = folder[len(copy.folder) :] if copy.folder else folder
        inner = "" if inner == folder and copy.folder else inner
        if copy.word == "." and not inner:
            return "."
        base = "" if copy.word in (".", "./") and inner else copy.word
        base = base + "/" if base and not base.endswith("/") else base
        return f"{base}{inner}/" if inner else base

    def _flags(self) -> Iterator[Edit]:
        """The flags that leave the project out, at the calls that would install it."""
        for one in self._late.wanted:
            if one.found is not None and one.found.first:
                missing = [
                    flag for flag in one.found.first if one.install.call.has((flag,)) is None
                ]
                end = one.install.call.invocation.words[-1].end
                yield Edit(self._run.span(end, end), "".join(f" {flag}" for flag in missing))

    def _tail(self, found: list[Found]) -> tuple[Edit | None, str] | None:
        """What is cut from the last RUN, and the RUN below the COPY that takes it over."""
        node, late = self._run.node, self._late
        text, again = self._file.text, [one for one in late.wanted if one.found and one.found.first]
        if late.rest is None and not again:
            return None, ""
        first = again[0].install.step.start if again else late.rest
        assert first is not None
        head = text[node.code.start : self._run.start]
        more = head + text[self._run.start + first : node.code.end] + self._end
        if late.rest is None:
            return None, more
        end = max(
            one.install.step.end for one in late.wanted if one.install.step in self._run.steps
        )
        cut = Span(self._file, self._run.start + end, node.code.end)
        between = text[cut.start : self._run.start + late.rest]
        if "#" in between or (again and "#" in text[node.code.start : node.code.end]):
            return None
        return Edit(cut, ""), more
