"""`lamina check` and `lamina fix`: Dockerfiles and what is around them, against the rules."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence

import msgspec

from lamina.advisor.checking import Report, check_project
from lamina.advisor.fixing import Fixed, fix_project
from lamina.advisor.project import Project, Sources
from lamina.advisor.reading import read_dockerfile
from lamina.advisor.rule import Rule
from lamina.advisor.ruleset import all_rules, chosen_rules
from lamina.context.statindex import StatIndex
from lamina.context.survey import Survey
from lamina.context.tree import ContextTree
from lamina.control.context import survey
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.errors import LaminaError, UserError
from lamina.fs.paths import open_beneath
from lamina.source import SourceFile

_NAMES = re.compile(r"(?:.+\.)?(?:Dockerfile|Containerfile)(?:\..+)?", re.IGNORECASE)
_NOT_DOCKERFILES = re.compile(r".+\.(?:dockerignore|md|txt|orig|rej|bak|py|json|ya?ml)|.+~")
_SKIPPED = frozenset((".git", ".hg", ".svn", "node_modules", ".venv", "venv", ".tox"))
_WORKFLOWS = re.compile(
    r"(?:\.gitlab-ci|(?:docker-)?compose(?:\..+)?)\.ya?ml|docker-bake(?:\..+)?\.(?:hcl|json)"
)
_MAX_FILE = 16 << 20
_MOST_FILES = 200_000
_MOST_TEXT = 1 << 20


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules say of one Dockerfile."""

    name: str
    report: Report


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """What the fixes made of one Dockerfile. `directory` is its context, where new files go."""

    name: str
    directory: str
    fixed: Fixed


def check(
    paths: Sequence[str], *, rules: Sequence[str] = (), context: str | None = None
) -> Iterator[Checked]:
    """Every Dockerfile at or below the paths. Raises UserError for a path that is not there."""
    chosen = chosen_rules(all_rules(), rules)
    for name in find_dockerfiles(paths):
        place = open_project(name, context)
        yield Checked(name=name, report=check_project(place.read(place.sources), chosen))


def fix(
    paths: Sequence[str],
    *,
    rules: Sequence[str] = (),
    context: str | None = None,
    unsafe: bool = False,
) -> Iterator[Mended]:
    """The same, with fixes applied to the texts; nothing is written."""
    chosen = chosen_rules(all_rules(), rules)
    for name in find_dockerfiles(paths):
        place = open_project(name, context)
        fixed = fix_project(place.sources, chosen, read=place.read, unsafe=unsafe)
        yield Mended(name=name, directory=place.directory, fixed=fixed)


def write(mended: Mended) -> None:
    """Writes what the fixes made. A file that changed meanwhile is left alone: UserError."""
    from lamina.fs.publish import publish_file

    for before, _ in mended.fixed.changes:
        _check_link(before.name, mended.directory)
    for before, after in mended.fixed.changes:
        if _read(before.name) != before:
            raise UserError(f"{before.name} was changed meanwhile: nothing was written to it")
        mode = os.stat(before.name).st_mode & 0o7777
        publish_file(os.path.realpath(before.name), _encoded(after))
        os.chmod(before.name, mode)
    for file in mended.fixed.new:
        publish_file(os.path.join(mended.directory, file.path), file.text.encode())


def _check_link(name: str, directory: str) -> None:
    """A project that somebody else wrote must not have files changed that are none of its own."""
    top = os.path.realpath(_repository(directory) or directory)
    real = os.path.realpath(name)
    if os.path.islink(name) and not real.startswith(os.path.join(top, "")):
        raise UserError(
            f"{name} is a link that leads out of {top}, to {real}: nothing was written",
            hint="name that file itself",
        )


def known_rules(names: Sequence[str] = ()) -> tuple[Rule, ...]:
    """The rules with these names, or all."""
    return chosen_rules(all_rules(), names)


def find_dockerfiles(paths: Sequence[str]) -> tuple[str, ...]:
    """Files as they are named, and in directories everything that is called like a Dockerfile."""
    found: dict[str, None] = {}
    for path in paths or (".",):
        if os.path.isdir(path):
            inside = tuple(_below(path))
            if not inside:
                raise UserError(f"there is no Dockerfile in {path}", hint="name the file")
            found |= dict.fromkeys(inside)
        elif os.path.exists(path):
            found[path] = None
        else:
            raise UserError(f"{path}: no such file or directory")
    return tuple(found)


def _below(top: str) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = os.path.normpath(os.path.join(folder, name))
            if (
                _NAMES.fullmatch(name)
                and not _NOT_DOCKERFILES.fullmatch(name)
                and os.path.isfile(path)  # of a pipe there would be no end
            ):
                yield path


class ProjectPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile where it lies."""

    sources: Sources
    directory: str

    def read(self, sources: Sources) -> Project:
        return Project(
            dockerfile=read_dockerfile(sources.dockerfile),
            sources=sources,
            context=self._survey(sources),
            text=self._text,
        )

    def _text(self, path: bytes) -> str | None:
        """What stands in a file of the context; None for a large one, a link, or none."""
        try:
            top = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with open(open_beneath(top, path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                    data = file.read(_MOST_TEXT + 1)
            finally:
                os.close(top)
        except OSError:
            return None
        return data.decode("utf-8", "replace") if len(data) <= _MOST_TEXT else None

    def _survey(self, sources: Sources) -> Survey | None:
        """None where the context is too large to be listed, or cannot be read."""
        try:
            matcher = parse_ignore_file(sources.ignore) if sources.ignore is not None else None
            name = sources.ignore.name if sources.ignore is not None else ""
            with ContextTree(self.directory, matcher, StatIndex(None), ignore_file=name) as tree:
                return survey(tree, sources.dockerfile, sources.ignore, most=_MOST_FILES)
        except LaminaError:
            return None


def project_of(dockerfile: SourceFile, ignore: SourceFile | None, directory: str | None) -> Project:
    """A Dockerfile that has been read, with what is around it in `directory`, if there is one."""
    workflows = tuple(map(_read, _workflows(directory))) if directory is not None else ()
    sources = Sources(dockerfile=dockerfile, ignore=ignore, workflows=workflows)
    if directory is None:
        return Project(dockerfile=read_dockerfile(dockerfile), sources=sources)
    return ProjectPlace(sources=sources, directory=directory).read(sources)


def project_around(name: str) -> ProjectPlace:
    """The same of a Dockerfile that need not be on disk yet."""
    return _project(SourceFile(name, ""), None)


def open_project(name: str, context: str | None = None) -> ProjectPlace:
    """The Dockerfile `name` with its context, by default the folder that it lies in."""
    return _project(_read(name), context)


def _project(dockerfile: SourceFile, context: str | None) -> ProjectPlace:
    name = dockerfile.name
    directory = context if context is not None else os.path.dirname(name) or "."
    own = f"{name}.dockerignore"
    general = os.path.join(directory, ".dockerignore")
    ignore = next((_read(path) for path in (own, general) if os.path.isfile(path)), None)
    sources = Sources(
        dockerfile=dockerfile, ignore=ignore, workflows=tuple(map(_read, _workflows(directory)))
    )
    return ProjectPlace(sources=sources, directory=directory)


def _workflows(directory: str) -> Iterator[str]:
    """Files that call builders: in the context, and in the repository that it belongs to."""
    places = (os.path.normpath(directory), _repository(directory) or directory)
    for place in dict.fromkeys(places):
        with contextlib.suppress(OSError):
            yield from (
                os.path.normpath(os.path.join(place, name))
                for name in sorted(os.listdir(place))
                if _WORKFLOWS.fullmatch(name) and os.path.isfile(os.path.join(place, name))
            )
        folder = os.path.join(place, ".github", "workflows")
        with contextlib.suppress(OSError):
            yield from (
                os.path.normpath(os.path.join(folder, name))
                for name in sorted(os.listdir(folder))
                if name.endswith((".yml", ".yaml")) and os.path.isfile(os.path.join(folder, name))
            )


def _repository(directory: str) -> str | None:
    """The repository that a folder belongs to, as a path of the same kind as the folder's."""
    here = os.path.abspath(directory)
    while not os.path.exists(os.path.join(here, ".git")):
        parent = os.path.dirname(here)
        if parent == here:
            return None
        here = parent
    return here if os.path.isabs(directory) else os.path.relpath(here)


def _read(path: str) -> SourceFile:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise UserError(f"failed to read {path}: {error.strerror}") from None
    if len(data) > _MAX_FILE:
        raise UserError(f"{path} is larger than {_MAX_FILE >> 20} MiB")
    return SourceFile.decode(path, data)


def _encoded(source: SourceFile) -> bytes:
    return source.text.encode("utf-8", "surrogateescape")
